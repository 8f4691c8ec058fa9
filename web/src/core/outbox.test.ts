/** A prompt is never lost: it stays here until the server has it, under one key. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Api } from "./api";
import { loadOutgoing } from "./keep";
import { Outbox } from "./outbox";
import { createState, type Store } from "./state";
import type { Outgoing } from "./types";

type Answer = () => Response | Promise<Response>;

let store: Store;
let outbox: Outbox;
let asked: { key: string; body: Record<string, unknown> }[];
let answer: Answer;
let accepted: Outgoing[];

const taken: Answer = () =>
  Response.json(
    {
      request_id: "resp_1",
      chat_id: "chat_1",
      user_message_id: "msg_1",
      message_id: "msg_2",
      status: "queued",
    },
    { status: 202 },
  );
const refused = (status: number, problem: object, headers = {}): Answer => {
  return () => Response.json(problem, { status, headers });
};
const unreachable: Answer = () => {
  throw new TypeError("network");
};

beforeEach(() => {
  vi.useFakeTimers();
  localStorage.clear();
  asked = [];
  accepted = [];
  answer = taken;
  begin();
});

afterEach(() => vi.useRealTimers());

function begin() {
  store = createState();
  const api = new Api(async (_path, init) => {
    const key = new Headers(init?.headers).get("Idempotency-Key") ?? "";
    asked.push({ key, body: JSON.parse(String(init?.body)) });
    return await answer();
  });
  outbox = new Outbox(store, api, (outgoing) => accepted.push(outgoing));
}

const send = async () => {
  outbox.send({ chat_id: "chat_1", agent_id: null, content: "Why?", if_busy: "queue" });
  await vi.advanceTimersByTimeAsync(0);
};
const waiting = () => store.getState().outgoing;

test("an accepted question leaves nothing behind", async () => {
  await send();
  expect(accepted.length).toBe(1);
  expect([waiting(), loadOutgoing()]).toEqual([[], []]);
});

test("without a network it waits and is tried again, under the same key", async () => {
  answer = unreachable;
  await send();
  expect(waiting()[0]).toMatchObject({ state: "waiting", content: "Why?" });
  answer = taken;
  await vi.advanceTimersByTimeAsync(1_000);
  expect(accepted.length).toBe(1);
  expect(new Set(asked.map(({ key }) => key)).size).toBe(1);
  expect(asked.length).toBe(2);
});

test("when the network is back it does not wait any longer", async () => {
  answer = unreachable;
  await send();
  answer = taken;
  outbox.wake();
  await vi.advanceTimersByTimeAsync(0);
  expect(accepted.length).toBe(1);
});

test("a server that restarts says when to come back", async () => {
  answer = refused(503, { code: "draining", detail: "Restarting." }, { "Retry-After": "3" });
  await send();
  answer = taken;
  await vi.advanceTimersByTimeAsync(2_900);
  expect(accepted.length).toBe(0);
  await vi.advanceTimersByTimeAsync(200);
  expect(accepted.length).toBe(1);
});

test.each([
  [500, "internal", "Something broke."],
  [429, "queue_full", "Too many wait."],
  [413, "message_too_large", "Too large."],
])("a refusal (%i) keeps the text and says why", async (status, code, detail) => {
  answer = refused(status, { code, detail });
  await send();
  expect(waiting()[0]).toMatchObject({ state: "failed", content: "Why?", problem: detail });
  answer = taken;
  outbox.resend(waiting()[0]?.key ?? "");
  await vi.advanceTimersByTimeAsync(0);
  expect(accepted.length).toBe(1);
  expect(asked[0]?.key).toBe(asked[1]?.key);
});

test("an expired sign-in keeps the text", async () => {
  answer = refused(401, { code: "unauthenticated", detail: "Nobody is signed in." });
  await send();
  expect(waiting()[0]).toMatchObject({ state: "waiting", content: "Why?" });
  expect(waiting()[0]?.problem).toContain("sign in");
});

test("a reload takes up what was on its way, under the same key", async () => {
  answer = unreachable;
  await send();
  begin();
  answer = taken;
  outbox.restore();
  await vi.advanceTimersByTimeAsync(0);
  expect(accepted.map(({ content }) => content)).toEqual(["Why?"]);
  expect(new Set(asked.map(({ key }) => key)).size).toBe(1);
});

test("what failed before a reload is there after it, and is not sent by itself", async () => {
  answer = refused(413, { code: "message_too_large", detail: "Too large." });
  await send();
  begin();
  outbox.restore();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked.length).toBe(1);
  expect(waiting()[0]).toMatchObject({ state: "failed", content: "Why?" });
});

test("a question taken back gives its text, and is not sent", async () => {
  answer = unreachable;
  await send();
  expect(outbox.takeBack(waiting()[0]?.key ?? "")).toBe("Why?");
  answer = taken;
  await vi.advanceTimersByTimeAsync(60_000);
  expect([accepted, waiting(), loadOutgoing()]).toEqual([[], [], []]);
});
