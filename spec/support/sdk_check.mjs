// sdk_check.mjs - asks the mock provider through the providers' own libraries.
//
// One idea: what an official library makes of the mock's answer is brought into
// the form that llmpool has, so that a spec can hold both beside each other. It
// judges nothing, and is given everything: the mock's address, the directory
// that has the libraries, the cases.
//
//   node spec/support/sdk_check.mjs URL DIRECTORY cases.json

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [url, directory, file] = process.argv.slice(2);
const require = createRequire(directory + "/none.js");
const OpenAI = require("openai");
const Anthropic = require("@anthropic-ai/sdk");
const { GoogleGenAI } = require("@google/genai");
const key = "sk-mock-0123456789";
const messages = [{ role: "user", content: "two and two" }];
console.warn = console.error = () => {};

async function control(order) {
  const reply = await fetch(url + "/_control", {
    method: "POST", body: JSON.stringify(order) });
  const answer = await reply.json();
  if (!answer.ok) throw new Error(JSON.stringify(answer));
}

async function requests() {
  return (await (await fetch(url + "/_log")).json()).log.length;
}

// ---- what they answer, in one form -----------------------------------------

function given(object) {
  const result = {};
  for (const [name, value] of Object.entries(object))
    if (value !== undefined && value !== null && value !== "")
      result[name] = value;
  return result;
}

const list = (items) => (items && items.length ? items : undefined);

function ofOpenAI(answer) {
  const [choice] = answer.choices, { message } = choice, { usage } = answer;
  return given({
    text: message.content, refusal: message.refusal,
    reasoning: message.reasoning_content, finish: choice.finish_reason,
    calls: list((message.tool_calls || []).map((call) => ({
      id: call.id, name: call.function.name,
      input: JSON.parse(call.function.arguments) }))),
    prompt: usage.prompt_tokens, completion: usage.completion_tokens,
    cached: usage.prompt_tokens_details.cached_tokens,
    thought: usage.completion_tokens_details.reasoning_tokens,
  });
}

const STOPS = { end_turn: "stop", max_tokens: "length", tool_use: "tool_calls",
  refusal: "content_filter", stop_sequence: "stop" };

function ofAnthropic(answer) {
  const of = (type) => answer.content.filter((block) => block.type === type);
  const { usage } = answer;
  return given({
    text: of("text").map((block) => block.text).join(""),
    reasoning: of("thinking").map((block) => block.thinking).join(""),
    signature: of("thinking").map((block) => block.signature).join(""),
    calls: list(of("tool_use").map(({ id, name, input }) =>
      ({ id, name, input }))),
    finish: STOPS[answer.stop_reason], cached: usage.cache_read_input_tokens,
    prompt: usage.input_tokens + usage.cache_read_input_tokens
      + usage.cache_creation_input_tokens,
    completion: usage.output_tokens,
    thought: usage.output_tokens_details?.thinking_tokens,
  });
}

const REASONS = { STOP: "stop", MAX_TOKENS: "length",
  SAFETY: "content_filter" };

// Events of a stream have the form of an answer.
function ofGemini(answers) {
  const parts = answers.flatMap((answer) =>
    answer.candidates?.[0]?.content?.parts || []);
  const text = (thought) => parts.filter((part) =>
    part.text && !part.thought === !thought).map((part) => part.text).join("");
  const calls = answers.flatMap((answer) => answer.functionCalls || []);
  const last = answers[answers.length - 1], usage = last.usageMetadata;
  const reason = REASONS[last.candidates[0].finishReason];
  return given({
    text: text(false), reasoning: text(true),
    calls: list(calls.map(({ id, name, args }) => ({ id, name, input: args }))),
    finish: reason === "stop" && calls.length ? "tool_calls" : reason,
    prompt: usage.promptTokenCount, thought: usage.thoughtsTokenCount,
    completion: usage.candidatesTokenCount + (usage.thoughtsTokenCount || 0),
    cached: usage.cachedContentTokenCount,
  });
}

// ---- the three -------------------------------------------------------------

const providers = {
  openai: {
    client: (retries) => new OpenAI({ apiKey: key, baseURL: url + "/v1",
      maxRetries: retries }),
    whole: async (client) => ofOpenAI(await client.chat.completions.create(
      { model: "small", messages })),
    stream: async (client) => ofOpenAI(await client.chat.completions.stream({
      model: "small", messages, stream_options: { include_usage: true } })
      .finalChatCompletion()),
    embed: async (client) => (await client.embeddings.create({ model: "small",
      input: ["a", "abc"], encoding_format: "float" })).data
      .sort((a, b) => a.index - b.index).map((item) => item.embedding),
  },
  anthropic: {
    client: (retries) => new Anthropic({ apiKey: key, baseURL: url,
      maxRetries: retries }),
    whole: async (client) => ofAnthropic(await client.messages.create(
      { model: "small", max_tokens: 99, messages })),
    stream: async (client) => ofAnthropic(await client.messages.stream(
      { model: "small", max_tokens: 99, messages }).finalMessage()),
  },
  gemini: {
    client: () => new GoogleGenAI({ apiKey: key,
      httpOptions: { baseUrl: url } }),
    whole: async (client) => ofGemini([await client.models.generateContent(
      { model: "small", contents: "two and two" })]),
    stream: async (client) => {
      const events = [];
      for await (const event of await client.models.generateContentStream(
        { model: "small", contents: "two and two" })) events.push(event);
      return ofGemini(events);
    },
    embed: async (client) => (await client.models.embedContent({
      model: "small", contents: ["a", "abc"] })).embeddings
      .map((item) => item.values),
  },
};

// ---- cases -----------------------------------------------------------------

// What a failure says: Gemini's library has the body in its message.
function failure(error) {
  const { error: body } = error;
  let inner = body?.error || body;
  try { inner = inner || JSON.parse(error.message).error; } catch { inner = {}; }
  return given({ name: error.constructor.name, status: error.status,
    type: error.type || inner?.type || inner?.status,
    message: inner?.message, request: error.requestID });
}

async function attempt(ask) {
  try {
    return { answer: await ask() };
  } catch (error) {
    return { failure: failure(error) };
  }
}

async function run(name, script) {
  const { client, whole, stream } = providers[name], result = {};
  for (const [how, ask] of Object.entries({ whole, stream })) {
    await control({ clear: true, next: [script] });
    result[how] = await attempt(() => ask(client(0)));
  }
  return result;
}

// Whether the library asks again after a failure, and after how long.
async function retried(name, script) {
  const { client, whole } = providers[name];
  await control({ clear: true, next: [script] });
  const began = performance.now();
  await attempt(() => whole(client(1)));
  const seconds = (performance.now() - began) / 1000;
  return { requests: await requests(), seconds };
}

const { answers, failures, retries } = JSON.parse(readFileSync(file, "utf8"));
const results = { answers: {}, failures: {}, retries: {}, embeddings: {} };
for (const name of Object.keys(providers)) {
  for (const kind of ["answers", "failures"]) {
    results[kind][name] = {};
    for (const [what, script] of Object.entries({ answers, failures }[kind]))
      results[kind][name][what] = await run(name, script);
  }
  const { client, embed } = providers[name];
  await control({ clear: true });
  if (embed) results.embeddings[name] = await embed(client(0));
  if (name === "gemini") continue; // its library asks once
  results.retries[name] = {};
  for (const [what, script] of Object.entries(retries))
    results.retries[name][what] = await retried(name, script);
}
console.log(JSON.stringify(results));
