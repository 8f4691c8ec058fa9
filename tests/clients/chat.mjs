// A page with the real `useChat`: sends, leaves, comes back, resumes; tells what it shows.
// Run as `node chat.mjs SERVER_URL AI REACT`, the names of two packages. Where an answer waits at a gate, the test opens it when the page
// has told how far it is; `between` also waits for a line on the standard input.
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { Window } from "happy-dom";

const [base, ai, react] = process.argv.slice(2);
const window = new Window({ url: base });
Object.assign(globalThis, { window, document: window.document, IS_REACT_ACT_ENVIRONMENT: false });
const { createElement } = await import("react");
const { createRoot } = await import("react-dom/client");
const { useChat } = await import(react);
const { DefaultChatTransport, lastAssistantMessageIsCompleteWithToolCalls } = await import(ai);
const headers = ai === "ai" ? {} : { "X-AI-SDK-Version": "6" };

const tell = (seen) => console.log(JSON.stringify(seen));
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const waiting = (gate) => `{"chunks": 40, "gate_at": 20, "gate": "${gate}"}`;

// One page: a component that holds `useChat`, and what it showed last.
function open(id, messages = [], resume = false, { body, ...more } = {}) {
  const page = { id, shown: null, answers: 0 };
  const counted = (...asked) => fetch(...asked).finally(() => (page.answers += 1));
  const api = `${base}/api/chat`;
  const transport = new DefaultChatTransport({ api, fetch: counted, headers, body });
  function Page() {
    page.shown = useChat({ id, messages, resume, transport, ...more });
    return null;
  }
  const host = window.document.createElement("div");
  window.document.body.append(host);
  const root = createRoot(host);
  root.render(createElement(Page));
  page.close = () => root.unmount();
  return page;
}

const textOf = (message) =>
  (message?.parts ?? [])
    .filter((part) => part.type === "text")
    .map((part) => part.text)
    .join("");
const seen = (page) => ({
  status: page.shown.status,
  error: page.shown.error?.message ?? null,
  roles: page.shown.messages.map((message) => message.role),
  text: textOf(page.shown.messages.at(-1)),
});
async function until(page, fact) {
  for (let look = 0; look < 600; look += 1) {
    if (page.shown && fact(page.shown)) return seen(page);
    await sleep(25);
  }
  throw new Error(`not in time: ${fact} in ${JSON.stringify(page.shown && seen(page))}`);
}
const stored = async (id) => (await (await fetch(`${base}/api/chat/${id}`)).json()).messages;
const post = (path, body) => fetch(base + path, { method: "POST", body: JSON.stringify(body) });
const settled = ({ status }) => status === "ready" || status === "error";
const says = ({ messages }) => textOf(messages.at(-1)).length > 8 && messages.length > 1;

// Send and read to the end.
let page = open("chat-short");
await until(page, ({ status }) => status === "ready");
page.shown.sendMessage({ text: '{"chunks": 6}' });
await until(page, ({ messages }) => messages.length > 1);
tell({ sent: await until(page, settled) });
page.shown.sendMessage({ text: '{"chunks": 3}' });
await until(page, ({ messages }) => messages.length > 3);
tell({ second: await until(page, settled) });
const first = page.shown.messages.at(-1).id;
page.shown.regenerate();
const anew = (chat) => settled(chat) && chat.messages.length > 3 && chat.messages.at(-1).id !== first;
tell({ regenerated: await until(page, anew), branch: (await stored("chat-short")).length });

// Edit the first question, known by the client's own id; then once more after a reload, by the
// server's: each time a new beginning beside the old one.
const edited = [];
for (const text of ['{"chunks": 2}', '{"chunks": 5}']) {
  const [{ id: messageId }] = page.shown.messages;
  page.shown.sendMessage({ text, messageId });
  const answered = ({ messages }) => textOf(messages[0]) === text && messages.length === 2;
  edited.push(await until(page, (chat) => answered(chat) && settled(chat)));
  page.close();
  page = open("chat-short", await stored("chat-short"));
  await until(page, ({ status }) => status === "ready");
}
const { chat_id } = await (await fetch(`${base}/api/chat/chat-short`)).json();
const tree = await (await fetch(`${base}/api/chats/${chat_id}/messages`)).json();
const roots = tree.messages.filter((message) => message.parent_id === null);
tell({ edited, reloaded: seen(page), roots: roots.length });
page.close();

// Send, leave in the middle, come back with the stored partial, resume, finish.
page = open("chat-long");
await until(page, ({ status }) => status === "ready");
page.shown.sendMessage({ text: waiting("long") });
const left = await until(page, says);
page.close();
const beside = open("chat-other");
await until(beside, ({ status }) => status === "ready");
beside.shown.sendMessage({ text: '{"chunks": 2}' });
await until(beside, ({ messages }) => messages.length > 1);
tell({ meanwhile: await until(beside, settled) });
beside.close();
const partial = await stored("chat-long");
page = open("chat-long", partial, true);
await until(page, ({ status }) => status === "streaming");
tell({ reattached: true });
tell({ left, partial: textOf(partial.at(-1)), resumed: await until(page, settled) });
page.close();

// Come back to an answer that has ended: told again or not, it is shown once and whole.
page = open("chat-long", await stored("chat-long"), true);
const idle = await fetch(`${base}/api/chat/never-seen/stream`);
const again = await until(page, (chat) => page.answers > 0 && settled(chat));
tell({ idle: idle.status, again });
page.close();

// The answer ends between loading the messages and resuming: nothing of it is missed.
page = open("chat-gap");
await until(page, ({ status }) => status === "ready");
page.shown.sendMessage({ text: waiting("gap") });
await until(page, says);
page.close();
const early = await stored("chat-gap");
tell({ between: textOf(early.at(-1)) });
await lines.next();
page = open("chat-gap", early, true);
await until(page, (chat) => settled(chat) && textOf(chat.messages.at(-1)).endsWith("w39 "));
tell({ caught_up: seen(page) });
page.close();

// The client's own stop is a disconnect and stops nothing; the server's stop keeps the partial.
page = open("chat-stopped");
await until(page, ({ status }) => status === "ready");
page.shown.sendMessage({ text: waiting("never") });
await until(page, says);
page.shown.stop();
await until(page, settled);
const going = await fetch(`${base}/api/chat/chat-stopped/stream`);
const reading = going.text();
await post("/api/chat/chat-stopped/stop", {});
const ended = await Promise.race([reading, sleep(10_000, "the stream goes on after a stop")]);
const kept = textOf((await stored("chat-stopped")).at(-1));
tell({ disconnected: going.status, tail: ended.split("\n\n").slice(-3), kept });
page.close();

// A tool that runs in the page: the agent calls it, the page answers, the agent goes on; then the
// page is loaded again, asks something else, and has the last answer made anew.
let ran = 0;
const tools = [{ type: "function", name: "where", parameters: { type: "object" } }];
const handy = {
  body: { agent_id: "page", tools },
  sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
  onToolCall({ toolCall: { dynamic, toolName, toolCallId } }) {
    if (dynamic) return;
    ran += 1;
    page.shown.addToolOutput({ tool: toolName, toolCallId, output: { city: "Bonn" } });
  },
};
const told = ({ messages }) => textOf(messages.at(-1)).startsWith("It is");
const partsOf = ({ shown }) =>
  shown.messages.at(-1).parts.map(({ type, state, output }) => [type, state, output]);
page = open("chat-tool", [], false, handy);
await until(page, ({ status }) => status === "ready");
page.shown.sendMessage({ text: "Where am I?" });
const used = await until(page, (chat) => settled(chat) && told(chat));
tell({ used, ran, parts: partsOf(page) });
page.close();
page = open("chat-tool", await stored("chat-tool"), true, handy);
await until(page, (chat) => page.answers > 0 && settled(chat) && told(chat));
tell({ reused: seen(page), ran_again: ran, reparts: partsOf(page) });
page.shown.sendMessage({ text: "And now?" });
await until(page, (chat) => settled(chat) && told(chat) && chat.messages.length === 4);
const then = page.shown.messages.at(-1).id;
page.shown.regenerate();
const other = (chat) => settled(chat) && told(chat) && chat.messages.at(-1).id !== then;
tell({ went_on: await until(page, other), ran_in_all: ran });
page.close();

// A refusal is shown as a sentence.
page = open("chat-refused");
await until(page, ({ status }) => status === "ready");
page.shown.sendMessage({ text: " " });
tell({ refused: await until(page, ({ status }) => status === "error") });
page.close();

// A dropped upstream: the second attempt replaces what the first one said.
page = open("chat-retried");
await until(page, ({ status }) => status === "ready");
page.shown.sendMessage({ text: '{"chunks": 8, "drop_at": 4, "fail_times": 1}' });
await until(page, ({ messages }) => messages.length > 1);
const retried = await until(page, settled);
page.close();
page = open("chat-retried", await stored("chat-retried"), true);
await until(page, settled);
tell({ retried, reloaded_retried: seen(page) });
process.exit(0);
