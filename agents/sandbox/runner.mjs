// What a TypeScript tool gets instead of the rest of `guest.py`: says that it is ready, takes one call, and ends.
import fs from "node:fs";
import module from "node:module";
import { pathToFileURL } from "node:url";

const TRACEBACK_CHARS = 2000;
const [requestFd, resultFd, most] = process.argv.slice(-3).map(Number);

function say(message) {
  let data = Buffer.from(JSON.stringify(message) + "\n");
  while (data.length) data = data.subarray(fs.writeSync(resultFd, data));
}

function fail(kind, error) {
  const known = error instanceof Error;
  const traceback = known ? String(error.stack).slice(0, TRACEBACK_CHARS) : "";
  const message = (known ? `${error.name}: ${error.message}` : String(error)).slice(0, TRACEBACK_CHARS);
  say({ failure: { kind, message, traceback } });
  process.exit(0);
}

function functionOf(tool, name) {
  const own = Object.keys(tool).filter((key) => typeof tool[key] === "function");
  const found = tool[name ?? own.at(-1)];
  if (typeof found === "function") return found;
  throw new Error(`the source exports no function '${name ?? ""}'; it has: ${own.join(", ") || "none"}`);
}

function encoded(value) {
  try {
    return JSON.stringify(value) ?? "null";
  } catch (error) {
    return fail("bad_return", `the return value cannot be written as JSON: ${error?.message}`);
  }
}

module.stripTypeScriptTypes(""); // what it needs is loaded now, and not when somebody waits
say({ ready: true });
const request = fs.readFileSync(requestFd, "utf8");
if (!request) process.exit(0); // nobody needs this one any more
const call = JSON.parse(request);
Object.assign(process.env, call.variables);
process.on("uncaughtException", (error) => fail("exception", error));
try {
  const file = `${process.cwd()}/tool.mjs`;
  fs.writeFileSync(file, module.stripTypeScriptTypes(call.source, { mode: "transform" }));
  const run = functionOf(await import(pathToFileURL(file)), call.function);
  const text = encoded(await run(...call.order.map((name) => call.args[name])));
  const bytes = Buffer.byteLength(text);
  if (bytes > most) fail("bad_return", `the return value has ${bytes} bytes of JSON; at most ${most} are taken`);
  say({ value: JSON.parse(text) });
  process.exit(0);
} catch (error) {
  fail("exception", error);
}
