// What the sandbox runs for `run_code` in JavaScript and TypeScript: the code, until nothing of it waits any more.
import fs from "node:fs";
import module from "node:module";
import { pathToFileURL } from "node:url";

export async function run(code, language) {
  const file = `${process.cwd()}/code.mjs`;
  globalThis.require = module.createRequire(file);
  fs.writeFileSync(file, language === "ts" ? module.stripTypeScriptTypes(code, { mode: "transform" }) : code);
  await import(pathToFileURL(file).href);
  await new Promise((done) => process.once("beforeExit", done));
}
