// One thing that users do with Letta's TypeScript SDK, done against a live server: node sdk.mjs SCENARIO.
// Base URL and key come from LETTA_BASE_URL and LETTA_API_KEY, as the SDK reads them; the model handle from MODEL.

import assert from "node:assert/strict";
import Letta from "@letta-ai/letta-client";

const client = new Letta({ baseURL: process.env.LETTA_BASE_URL, apiKey: process.env.LETTA_API_KEY, maxRetries: 0 });

async function newAgent() {
  return client.agents.create({
    model: process.env.MODEL,
    memory_blocks: [
      { label: "human", value: "Name: Timber. Status: dog. Occupation: building Letta." },
      { label: "persona", value: "I am a self-improving superintelligence. Timber is my best friend." },
    ],
    tools: ["memory_insert", "memory_replace"],
  });
}

const textOf = (frames) =>
  frames
    .filter((frame) => frame.message_type === "assistant_message")
    .map((frame) => frame.content)
    .join("");

async function all(stream) {
  const frames = [];
  for await (const frame of stream) frames.push(frame);
  return frames;
}

const scenarios = {
  // The hello world of Letta's README.
  async hello() {
    const agentState = await newAgent();
    const response = await client.agents.messages.create(agentState.id, {
      input: "What do you know about me? [[say You are Timber, a dog.]]",
    });
    const printed = response.messages.map((message) => `${message.message_type}: ${message.content}`);
    assert.deepEqual(printed, ["assistant_message: You are Timber, a dog."]);
    assert.equal(response.stop_reason.stop_reason, "end_turn");
    const listed = [];
    for await (const message of client.agents.messages.list(agentState.id, { order: "asc" })) {
      listed.push(message.message_type);
    }
    assert.deepEqual(listed, ["system_message", "user_message", "assistant_message"]);
    const edit = '[[tool memory_insert {"label": "human", "new_string": "Likes bones."} then say noted]]';
    await client.agents.messages.create(agentState.id, { input: edit });
    const block = await client.agents.blocks.retrieve("human", { agent_id: agentState.id });
    assert.match(block.value, /Likes bones\./);
  },

  async streaming() {
    const agent = await newAgent();
    const stream = await client.agents.messages.create(agent.id, {
      input: "[[think hm then tokens 40]]",
      streaming: true,
      stream_tokens: true,
    });
    const frames = await all(stream);
    assert.equal(textOf(frames).split(" ").length, 40);
    assert.ok(frames.filter((frame) => frame.message_type === "assistant_message").length > 1);
    assert.deepEqual(
      frames.slice(-2).map((frame) => frame.message_type),
      ["stop_reason", "usage_statistics"],
    );
  },

  async resume() {
    const agent = await newAgent();
    const stream = await client.agents.messages.create(agent.id, {
      input: "[[tokens 60]]",
      streaming: true,
      stream_tokens: true,
      background: true,
    });
    const seen = [];
    for await (const frame of stream) {
      seen.push(frame);
      if (textOf(seen).split(" ").length >= 10) break; // this closes the connection
    }
    const { run_id, seq_id } = seen.at(-1);
    const rest = await all(await client.runs.messages.stream(run_id, { starting_after: seq_id }));
    const whole = await all(await client.runs.messages.stream(run_id, { starting_after: 0 }));
    const numbers = (frames) => frames.map((frame) => frame.seq_id).filter(Boolean);
    assert.deepEqual(numbers([...seen, ...rest]), numbers(whole));
    assert.equal(textOf([...seen, ...rest]), textOf(whole));
    assert.equal(textOf(whole).split(" ").length, 60);
    assert.equal((await client.runs.retrieve(run_id)).status, "completed");
  },

  async conversations() {
    const agent = await newAgent();
    const conversation = await client.conversations.create({ agent_id: agent.id });
    const stream = await client.conversations.messages.create(conversation.id, { input: "[[say by stream]]" });
    assert.equal(textOf(await all(stream)), "by stream");
    const answered = await client.conversations.messages
      .create(conversation.id, { input: "[[say by json]]", streaming: false })
      .asResponse(); // the SDK types this method as a stream, also where JSON was asked for
    assert.equal(textOf((await answered.json()).messages), "by json");
    const told = [];
    for await (const message of client.conversations.messages.list(conversation.id, { order: "asc" })) {
      told.push(message.content);
    }
    assert.deepEqual(told.slice(1), ["[[say by stream]]", "by stream", "[[say by json]]", "by json"]);
  },

  async errors() {
    const agent = await newAgent();
    await assert.rejects(
      client.agents.messages.create(agent.id, { input: "[[error 429]]" }),
      (error) => error instanceof Letta.RateLimitError && error.error.error.type === "llm_rate_limit",
    );
    await assert.rejects(client.agents.retrieve(agent.id.slice(0, -4) + "0000"), Letta.NotFoundError);
    const stranger = new Letta({ baseURL: process.env.LETTA_BASE_URL, apiKey: "pn_0_wrong", maxRetries: 0 });
    await assert.rejects(stranger.agents.list(), Letta.AuthenticationError);
  },
};

await scenarios[process.argv[2]]();
console.log("ok");
