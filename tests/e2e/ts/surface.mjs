// Every method of the TypeScript SDK for agents, messages, blocks, tools, conversations, runs and steps, called against a
// live server: node surface.mjs. The list is the SDK's own, so that none can be forgotten. Prints one line of JSON:
// what worked and what failed with which message.

import assert from "node:assert/strict";
import Letta, { toFile } from "@letta-ai/letta-client";

const client = new Letta({ baseURL: process.env.LETTA_BASE_URL, apiKey: process.env.LETTA_API_KEY, maxRetries: 0 });
const RESOURCES = ["agents", "messages", "blocks", "tools", "conversations", "runs", "steps"];
const LATER = /^agents\.(archives|files|folders|identities|schedule)\./;

function methodsOf(resource, prefix) {
  const own = Object.getOwnPropertyNames(Object.getPrototypeOf(resource)).filter((name) => name !== "constructor");
  const nested = Object.keys(resource).filter((name) => name !== "_client" && typeof resource[name] === "object");
  return [
    ...own.map((name) => `${prefix}.${name}`),
    ...nested.flatMap((name) => methodsOf(resource[name], `${prefix}.${name}`)),
  ];
}

const greeting = (name) => `def ${name}(name: str) -> str:
    """Greet somebody.

    Args:
        name: whom to greet
    """
    return "Hello, " + name
`;

const newAgent = (more = {}) =>
  client.agents.create({
    name: "surface-ts",
    model: process.env.MODEL,
    embedding: process.env.EMBEDDING,
    memory_blocks: [
      { label: "human", value: "Name: ?" },
      { label: "persona", value: "I am brief." },
    ],
    tools: ["memory_insert"],
    ...more,
  });
const newTool = (name) => client.tools.upsert({ source_code: greeting(name) });
const say = (agent, script) => client.agents.messages.create(agent.id, { input: `[[${script}]]` });
const types = (frames) => frames.map((frame) => frame.message_type);
const missing = (call) => assert.rejects(call, Letta.NotFoundError);

async function all(list) {
  const found = [];
  for await (const item of await list) found.push(item);
  return found;
}

async function until(ready) {
  for (let tries = 0; tries < 300; tries++) {
    const found = await ready();
    if (found && !(Array.isArray(found) && !found.length)) return found;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`not within 30 s: ${ready}`);
}

async function newConversation() {
  const made = await client.conversations.create({ agent_id: agent.id });
  await all(client.conversations.messages.create(made.id, { input: "[[say in a thread]]" }));
  return made;
}

async function running() {
  const { id } = await newAgent();
  const run = await client.agents.messages.createAsync(id, { input: "[[hang 20 then say late]]" });
  await until(async () => (await client.runs.retrieve(run.id)).status === "running");
  return run;
}

const agent = await newAgent();
const turn = await say(agent, 'tool memory_insert {"label": "human", "new_string": "Likes tea."} then say noted');
const { run_id: runId, step_id: stepId } = turn.messages[0];

const scenarios = {
  async "agents.create"() {
    const made = await newAgent({ name: "made", metadata: { a: 1 }, tags: ["x"] });
    assert.deepEqual([made.name, made.metadata, made.tags], ["made", { a: 1 }, ["x"]]);
  },
  async "agents.retrieve"() {
    const found = await client.agents.retrieve(agent.id, { include: ["agent.tools", "agent.blocks"] });
    assert.ok(found.tools.some((tool) => tool.name === "memory_insert"));
  },
  async "agents.update"() {
    const made = await newAgent();
    assert.equal((await client.agents.update(made.id, { name: "renamed" })).name, "renamed");
  },
  async "agents.list"() {
    for (const name of ["one", "two", "three"]) await newAgent({ name, tags: ["ts-listed"] });
    const found = await all(client.agents.list({ tags: ["ts-listed"], limit: 2, order: "asc" }));
    assert.deepEqual(found.map((one) => one.name), ["one", "two", "three"]);
  },
  async "agents.delete"() {
    const made = await newAgent();
    await client.agents.delete(made.id);
    await missing(client.agents.retrieve(made.id));
  },
  async "agents.exportFile"() {
    const file = await client.agents.exportFile(agent.id);
    const content = typeof file === "string" ? JSON.parse(file) : file;
    assert.equal(content.agents.length, 1);
  },
  async "agents.importFile"() {
    const file = await client.agents.exportFile(agent.id);
    const text = typeof file === "string" ? file : JSON.stringify(file);
    const { agent_ids } = await client.agents.importFile({ file: await toFile(Buffer.from(text), "a.af"), name: "brought" });
    assert.match((await client.agents.retrieve(agent_ids[0])).name, /^brought/);
  },
  async "agents.recompile"() {
    assert.match(await client.agents.recompile(agent.id, { dry_run: true }), /I am brief\./);
  },
  async "agents.blocks.retrieve"() {
    assert.equal((await client.agents.blocks.retrieve("persona", { agent_id: agent.id })).value, "I am brief.");
  },
  async "agents.blocks.update"() {
    const made = await newAgent();
    const block = await client.agents.blocks.update("human", { agent_id: made.id, value: "Name: Ada" });
    assert.equal(block.value, "Name: Ada");
  },
  async "agents.blocks.list"() {
    const found = await all(client.agents.blocks.list(agent.id));
    assert.deepEqual(found.map((block) => block.label).sort(), ["human", "persona"]);
  },
  async "agents.blocks.attach"() {
    const [made, block] = [await newAgent(), await client.blocks.create({ label: "notes", value: "n" })];
    const state = await client.agents.blocks.attach(block.id, { agent_id: made.id });
    assert.ok(state.memory.blocks.some((one) => one.label === "notes"));
  },
  async "agents.blocks.detach"() {
    const made = await newAgent();
    const human = made.memory.blocks.find((one) => one.label === "human");
    const state = await client.agents.blocks.detach(human.id, { agent_id: made.id });
    assert.deepEqual(state.memory.blocks.map((one) => one.label), ["persona"]);
  },
  async "agents.tools.list"() {
    const found = await all(client.agents.tools.list(agent.id));
    assert.ok(found.some((tool) => tool.name === "memory_insert"));
  },
  async "agents.tools.attach"() {
    const [made, tool] = [await newAgent(), await newTool("greet_ts_attached")];
    await client.agents.tools.attach(tool.id, { agent_id: made.id });
    assert.ok((await all(client.agents.tools.list(made.id))).some((one) => one.id === tool.id));
  },
  async "agents.tools.detach"() {
    const tool = await newTool("greet_ts_detached");
    const made = await newAgent({ tool_ids: [tool.id] });
    await client.agents.tools.detach(tool.id, { agent_id: made.id });
    assert.ok(!(await all(client.agents.tools.list(made.id))).some((one) => one.id === tool.id));
  },
  async "agents.tools.updateApproval"() {
    const made = await newAgent();
    await client.agents.tools.updateApproval("memory_insert", { agent_id: made.id, body_requires_approval: true });
    const asked = await say(made, 'tool memory_insert {"label": "human", "new_string": "x"} then say ok');
    assert.equal(asked.stop_reason.stop_reason, "requires_approval");
  },
  async "agents.tools.run"() {
    const tool = await newTool("greet_ts_run");
    const made = await newAgent({ tool_ids: [tool.id] });
    const answer = await client.agents.tools.run("greet_ts_run", { agent_id: made.id, args: { name: "Ada" } });
    assert.deepEqual([answer.status, answer.func_return], ["success", "Hello, Ada"]);
  },
  async "agents.passages.create"() {
    const [passage] = await client.agents.passages.create(agent.id, { text: "Ada plays chess." });
    assert.equal(passage.text, "Ada plays chess.");
  },
  async "agents.passages.list"() {
    const made = await newAgent();
    await client.agents.passages.create(made.id, { text: "The sky is blue." });
    assert.equal((await client.agents.passages.list(made.id)).length, 1);
  },
  async "agents.passages.search"() {
    const made = await newAgent();
    await client.agents.passages.create(made.id, { text: "Bees make honey." });
    assert.equal((await client.agents.passages.search(made.id, { query: "honey" })).count, 1);
  },
  async "agents.passages.delete"() {
    const made = await newAgent();
    const [passage] = await client.agents.passages.create(made.id, { text: "Wrong." });
    await client.agents.passages.delete(passage.id, { agent_id: made.id });
    assert.deepEqual(await client.agents.passages.list(made.id), []);
  },
  async "agents.messages.create"() {
    const answer = await say(agent, "think hm then say hello");
    assert.deepEqual(types(answer.messages), ["reasoning_message", "assistant_message"]);
    assert.equal(answer.usage.step_count, 1);
  },
  async "agents.messages.stream"() {
    const frames = await all(client.agents.messages.stream(agent.id, { input: "[[tokens 12]]", stream_tokens: true }));
    assert.deepEqual(types(frames).slice(-2), ["stop_reason", "usage_statistics"]);
  },
  async "agents.messages.createAsync"() {
    const made = await newAgent();
    const run = await client.agents.messages.createAsync(made.id, { input: "[[say later]]" });
    await until(async () => (await client.runs.retrieve(run.id)).status === "completed");
  },
  async "agents.messages.list"() {
    const made = await newAgent();
    await say(made, "say one");
    const found = await all(client.agents.messages.list(made.id, { order: "asc", limit: 2 }));
    assert.deepEqual(types(found), ["system_message", "user_message", "assistant_message"]);
  },
  async "agents.messages.cancel"() {
    const run = await running();
    await client.agents.messages.cancel(run.agent_id, { run_ids: [run.id] });
    assert.equal((await client.runs.retrieve(run.id)).status, "cancelled");
  },
  async "agents.messages.reset"() {
    const made = await newAgent();
    await say(made, "say forget me");
    await client.agents.messages.reset(made.id);
    assert.equal((await client.agents.retrieve(made.id)).message_ids.length, 1);
  },
  async "agents.messages.compact"() {
    const made = await newAgent();
    for (const number of [1, 2, 3, 4]) await say(made, `say ${number}`);
    const answer = await client.agents.messages.compact(made.id);
    assert.ok(answer.num_messages_after < answer.num_messages_before);
  },
  async "messages.list"() {
    const found = await client.messages.list({ limit: 3 });
    assert.ok(found.length > 0 && found.length <= 3);
  },
  async "messages.retrieve"() {
    const found = await client.messages.retrieve(turn.messages[0].id);
    assert.ok(found.some((message) => message.id === turn.messages[0].id));
  },
  async "messages.search"() {
    const made = await newAgent();
    await say(made, "say The zanzibar parrot is green");
    const found = await client.messages.search({ query: "zanzibar", agent_id: made.id, search_mode: "fts" });
    assert.ok(found.length > 0);
  },
  async "blocks.create"() {
    const block = await client.blocks.create({ label: "shared", value: "v", read_only: true });
    assert.deepEqual([block.label, block.value, block.read_only], ["shared", "v", true]);
  },
  async "blocks.retrieve"() {
    const made = await client.blocks.create({ label: "kept", value: "v" });
    assert.deepEqual(await client.blocks.retrieve(made.id), made);
  },
  async "blocks.update"() {
    const made = await client.blocks.create({ label: "old", value: "v" });
    assert.equal((await client.blocks.update(made.id, { value: "w" })).value, "w");
  },
  async "blocks.list"() {
    for (const value of "abc") await client.blocks.create({ label: "ts-found", value });
    const found = await all(client.blocks.list({ label: "ts-found", limit: 2, order: "asc" }));
    assert.deepEqual(found.map((block) => block.value), ["a", "b", "c"]);
  },
  async "blocks.delete"() {
    const made = await client.blocks.create({ label: "gone", value: "v" });
    await client.blocks.delete(made.id);
    await missing(client.blocks.retrieve(made.id));
  },
  async "blocks.agents.list"() {
    const block = await client.blocks.create({ label: "ours", value: "v" });
    const made = await newAgent({ block_ids: [block.id] });
    assert.deepEqual((await all(client.blocks.agents.list(block.id))).map((one) => one.id), [made.id]);
  },
  async "tools.create"() {
    const made = await client.tools.create({ source_code: greeting("greet_ts_new") });
    assert.deepEqual([made.name, made.tool_type], ["greet_ts_new", "custom"]);
  },
  async "tools.upsert"() {
    const [first, second] = [await newTool("greet_ts_again"), await newTool("greet_ts_again")];
    assert.equal(first.id, second.id);
  },
  async "tools.retrieve"() {
    const made = await newTool("greet_ts_kept");
    assert.equal((await client.tools.retrieve(made.id)).source_code, made.source_code);
  },
  async "tools.update"() {
    const made = await newTool("greet_ts_changed");
    assert.equal((await client.tools.update(made.id, { description: "Says hello." })).description, "Says hello.");
  },
  async "tools.list"() {
    await newTool("greet_ts_listed");
    const found = await all(client.tools.list({ name: "greet_ts_listed" }));
    assert.deepEqual(found.map((tool) => tool.name), ["greet_ts_listed"]);
  },
  async "tools.search"() {
    await newTool("greet_ts_zebra");
    const found = await client.tools.search({ query: "greet_ts_zebra", search_mode: "fts" });
    assert.equal(found[0].tool.name, "greet_ts_zebra");
  },
  async "tools.delete"() {
    const made = await newTool("greet_ts_gone");
    await client.tools.delete(made.id);
    await missing(client.tools.retrieve(made.id));
  },
  async "conversations.create"() {
    const made = await client.conversations.create({ agent_id: agent.id, summary: "about tea" });
    assert.equal(made.summary, "about tea");
  },
  async "conversations.retrieve"() {
    const made = await newConversation();
    assert.equal((await client.conversations.retrieve(made.id)).in_context_message_ids.length, 3);
  },
  async "conversations.list"() {
    const made = await newAgent();
    const { id } = await client.conversations.create({ agent_id: made.id });
    assert.deepEqual((await client.conversations.list({ agent_id: made.id })).map((one) => one.id), [id]);
  },
  async "conversations.update"() {
    const made = await client.conversations.create({ agent_id: agent.id });
    assert.equal((await client.conversations.update(made.id, { summary: "renamed" })).summary, "renamed");
  },
  async "conversations.delete"() {
    const made = await client.conversations.create({ agent_id: agent.id });
    await client.conversations.delete(made.id);
    await missing(client.conversations.retrieve(made.id));
  },
  async "conversations.fork"() {
    const made = await newConversation();
    const forked = await client.conversations.fork(made.id);
    const told = await all(client.conversations.messages.list(forked.id, { order: "asc" }));
    assert.deepEqual(told.slice(1).map((message) => message.content), ["[[say in a thread]]", "in a thread"]);
  },
  async "conversations.recompile"() {
    const made = await newConversation();
    assert.match(await client.conversations.recompile(made.id, { dry_run: true }), /I am brief\./);
  },
  async "conversations.cancel"() {
    const made = await client.conversations.create({ agent_id: (await newAgent()).id });
    const input = "[[hang 20 then say late]]";
    const stream = await client.conversations.messages.create(made.id, { input, background: true });
    for await (const _ of stream) break;
    await client.conversations.cancel(made.id);
  },
  async "conversations.messages.create"() {
    const made = await client.conversations.create({ agent_id: agent.id });
    const frames = await all(client.conversations.messages.create(made.id, { input: "[[say by stream]]" }));
    assert.ok(frames.some((frame) => frame.content === "by stream"));
  },
  async "conversations.messages.list"() {
    const found = await all(client.conversations.messages.list((await newConversation()).id, { order: "asc" }));
    assert.deepEqual(types(found), ["system_message", "user_message", "assistant_message"]);
  },
  async "conversations.messages.stream"() {
    const made = await client.conversations.create({ agent_id: agent.id });
    const first = await client.conversations.messages.create(made.id, { input: "[[say resumed]]", background: true });
    let began;
    for await (const frame of first) {
      began = frame;
      break;
    }
    const rest = await all(client.conversations.messages.stream(made.id, { run_id: began.run_id, starting_after: 0 }));
    assert.ok(rest.some((frame) => frame.content === "resumed"));
  },
  async "conversations.messages.compact"() {
    const made = await newConversation();
    for (const number of [1, 2, 3]) await all(client.conversations.messages.create(made.id, { input: `[[say ${number}]]` }));
    const answer = await client.conversations.messages.compact(made.id);
    assert.ok(answer.num_messages_after < answer.num_messages_before);
  },
  async "runs.retrieve"() {
    assert.equal((await client.runs.retrieve(runId)).status, "completed");
  },
  async "runs.list"() {
    const found = await all(client.runs.list({ agent_id: agent.id, limit: 2 }));
    assert.ok(found.some((run) => run.id === runId));
  },
  async "runs.messages.list"() {
    const found = await all(client.runs.messages.list(runId, { order: "asc" }));
    assert.deepEqual(types(found), ["user_message", "tool_call_message", "tool_return_message", "assistant_message"]);
  },
  async "runs.messages.stream"() {
    const made = await newAgent();
    const run = await client.agents.messages.createAsync(made.id, { input: "[[say followed]]" });
    const frames = await all(client.runs.messages.stream(run.id, { starting_after: 0 }));
    assert.ok(frames.some((frame) => frame.content === "followed"));
  },
  async "runs.steps.list"() {
    assert.equal((await all(client.runs.steps.list(runId))).length, 2);
  },
  async "runs.usage.retrieve"() {
    const usage = await client.runs.usage.retrieve(runId);
    assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
  },
  async "runs.trace.retrieve"() {
    await until(() => client.runs.trace.retrieve(runId));
  },
  async "steps.retrieve"() {
    assert.equal((await client.steps.retrieve(stepId)).run_id, runId);
  },
  async "steps.list"() {
    const found = await all(client.steps.list({ agent_id: agent.id }));
    assert.ok(found.some((step) => step.id === stepId));
  },
  async "steps.messages.list"() {
    assert.ok(types(await all(client.steps.messages.list(stepId))).includes("tool_call_message"));
  },
  async "steps.metrics.retrieve"() {
    assert.ok((await client.steps.metrics.retrieve(stepId)).llm_request_ns > 0);
  },
  async "steps.trace.retrieve"() {
    const trace = await until(() => client.steps.trace.retrieve(stepId));
    assert.equal(trace.step_id, stepId);
  },
  async "steps.feedback.create"() {
    assert.equal((await client.steps.feedback.create(stepId, { feedback: "positive" })).feedback, "positive");
  },
};

const wanted = RESOURCES.flatMap((name) => methodsOf(client[name], name)).filter((name) => !LATER.test(name));
const failed = {};
for (const name of wanted) {
  try {
    await scenarios[name]();
  } catch (error) {
    failed[name] = String(error.message ?? error);
  }
}
const unknown = Object.keys(scenarios).filter((name) => !wanted.includes(name));
console.log(JSON.stringify({ called: wanted.length, failed, unknown }));
