/** The page against a small server that lives in this file: what is read, followed and healed. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createActions } from "./actions";
import { Api } from "./api";
import type { Message, Chat as SentChat } from "./api.gen";
import { Client } from "./client";
import type { Cursors, Heard } from "./lines";
import { createState, type Store } from "./state";
import type { Actions, Chat } from "./types";

const AT = "2026-11-26T09:00:00Z";

/** What the server has, and what it was asked. */
class Server {
  chats = new Map<string, SentChat>();
  messages = new Map<string, Message[]>();
  calls: string[] = [];
  attached: [string, number][] = [];
  heard: Heard | null = null;
  revision = 1;
  down = false;

  readonly fetch: typeof fetch = async (input, init) => {
    const url = new URL(String(input), "http://127.0.0.1");
    this.calls.push(`${init?.method ?? "GET"} ${url.pathname}`);
    if (this.down) throw new TypeError("network");
    const [, , noun, id, verb] = url.pathname.split("/");
    if (noun === "invoke_endpoint") return this.accept(JSON.parse(String(init?.body)));
    if (noun === "requests")
      return Response.json({ requests: [], status: "streaming", sequence_number: -1 });
    if (!id)
      return Response.json({
        chats: [...this.chats.values()],
        next_cursor: null,
        revision: this.revision,
      });
    const chat = this.chats.get(id);
    if (!chat)
      return Response.json({ code: "chat_not_found", detail: "No chat." }, { status: 404 });
    if (init?.method === "DELETE") return new Response(null, { status: 204 });
    if (verb === "messages") return this.tree(chat);
    if (verb === "read") return Response.json(this.change(id, { unread: false }));
    return Response.json(chat);
  };

  readonly open = (cursors: Cursors, heard: Heard) => {
    this.heard = heard;
    this.attached.push(...cursors.attached);
    queueMicrotask(() => heard.message({ op: "hello", revision: this.revision }));
    return {
      attach: (request_id: string, after: number) => {
        this.attached.push([request_id, after]);
        return true;
      },
      detach: () => {},
      close: () => {},
    };
  };

  add(id: string, more: Partial<SentChat> = {}): SentChat {
    this.revision += 1;
    const chat: SentChat = {
      id,
      agent_id: "guide",
      title: id,
      created_at: AT,
      updated_at: AT,
      revision: this.revision,
      pinned: false,
      archived: false,
      deleted: false,
      current_message_id: null,
      running_request_id: null,
      queued: 0,
      unread: false,
      last_status: null,
      ...more,
    };
    this.chats.set(id, chat);
    return chat;
  }

  change(id: string, changes: Partial<SentChat>): SentChat {
    return this.add(id, {
      ...(this.chats.get(id) as SentChat),
      revision: this.revision + 1,
      ...changes,
    });
  }

  /** Change a chat and tell it, as the live line does. */
  tell(id: string, changes: Partial<SentChat>): void {
    this.heard?.message({ chat: this.change(id, changes) });
  }

  event(request_id: string, event: object): void {
    this.heard?.message({ request_id, event });
  }

  private tree(chat: SentChat): Response {
    const messages = this.messages.get(chat.id) ?? [];
    const current_message_id = chat.current_message_id;
    return Response.json({ chat_id: chat.id, current_message_id, branch: [], messages });
  }

  private accept(body: { chat_id?: string; message: string }): Response {
    const chat_id = body.chat_id ?? "chat_new";
    if (!this.chats.has(chat_id)) this.add(chat_id);
    const ids = { user_message_id: "msg_q", message_id: "msg_a", request_id: "resp_new" };
    this.messages.set(chat_id, asked(chat_id, "resp_new", body.message, "queued"));
    this.change(chat_id, { current_message_id: "msg_a", queued: 1 });
    return Response.json({ ...ids, chat_id, status: "queued" }, { status: 202 });
  }
}

function asked(
  chat_id: string,
  request_id: string,
  content: string,
  status: string,
  more = {},
): Message[] {
  const common = { chat_id, request_id, created_at: AT, queue_position: null, error: null };
  const rest = { ...common, output: null, incomplete_reason: null, trace_id: null };
  const question = { ...rest, id: "msg_q", parent_id: null, role: "user", content };
  const answer = { ...rest, id: "msg_a", parent_id: "msg_q", role: "assistant", content: "" };
  const standing = { status, sequence_number: status === "queued" ? 0 : 3 };
  return [
    { ...question, status: null, sequence_number: null },
    { ...answer, ...standing, ...more },
  ] as Message[];
}

const text = (said: string) => ({
  content: said,
  output: [
    {
      type: "message",
      id: "m1",
      status: "in_progress",
      role: "assistant",
      content: [{ type: "output_text", text: said }],
    },
  ],
});

let server: Server;
let store: Store;
let client: Client;
let actions: Actions;
let ended: Chat[];
let opened: (string | null)[];
let hidden: boolean;

beforeEach(() => {
  vi.useFakeTimers();
  localStorage.clear();
  server = new Server();
  ended = [];
  opened = [];
  hidden = false;
});

afterEach(() => {
  client.stop();
  vi.useRealTimers();
});

const open = (chat_id: string | null) => {
  opened.push(chat_id);
  client.show(chat_id);
};

async function begin(route: string | null = null): Promise<void> {
  store = createState();
  client = new Client(store, new Api(server.fetch), {
    openSocket: server.open,
    openStream: server.open,
    online: () => true,
    hidden: () => hidden,
    random: () => 1,
    frame: (act) => act(),
    open,
    ended: (chat) => ended.push(chat),
  });
  actions = createActions(client, open);
  client.show(route);
  client.start();
  await settle();
}

const settle = (ms = 0) => vi.advanceTimersByTimeAsync(ms);
const transcript = (id: string) => store.getState().transcripts[id];
const calls = (call: string) => server.calls.filter((one) => one === call).length;

function running(): void {
  server.add("chat_1", { running_request_id: "resp_1", current_message_id: "msg_a" });
  server.messages.set("chat_1", asked("chat_1", "resp_1", "Why?", "streaming", text("Because")));
}

describe("opening a chat", () => {
  it("paints what is stored and follows the answer from there", async () => {
    running();
    await begin("chat_1");
    expect(transcript("resp_1")?.items[0]).toMatchObject({ content: [{ text: "Because" }] });
    expect(server.attached).toEqual([["resp_1", 3]]);
    server.event("resp_1", {
      type: "response.output_text.delta",
      sequence_number: 4,
      item_id: "m1",
      content_index: 0,
      delta: " of it",
    });
    expect(transcript("resp_1")?.items[0]).toMatchObject({ content: [{ text: "Because of it" }] });
  });

  it("shows a chat that was open before at once, while it is read again", async () => {
    running();
    server.add("chat_2");
    await begin("chat_1");
    open("chat_2");
    await settle();
    open("chat_1");
    expect(store.getState().trees.chat_1?.load).toBe("ready");
  });

  it("tells that it is not there, or cannot be read", async () => {
    await begin("chat_9");
    expect(store.getState().trees.chat_9?.load).toBe("missing");
    server.down = true;
    open("chat_8");
    await settle();
    expect(store.getState().trees.chat_8?.load).toBe("failed");
  });

  it("marks it as read, for all devices, but not while the tab is hidden", async () => {
    server.add("chat_1", { unread: true });
    hidden = true;
    await begin("chat_1");
    await settle(500);
    expect(calls("POST /api/chats/chat_1/read")).toBe(0);
    hidden = false;
    client.wake();
    await settle(500);
    expect(calls("POST /api/chats/chat_1/read")).toBe(1);
    expect(store.getState().chats.chat_1?.unread).toBe(false);
  });
});

describe("asking", () => {
  it("in a new chat opens it with the question in it, and follows the answer", async () => {
    await begin();
    actions.send({ chat_id: null, content: "Why?" });
    await settle(1);
    expect(opened).toEqual(["chat_new"]);
    const tree = store.getState().trees.chat_new;
    expect(Object.values(tree?.nodes ?? {}).map(({ content }) => content)).toEqual(["Why?", ""]);
    expect(server.attached).toContainEqual(["resp_new", -1]);
    expect(store.getState().outgoing).toEqual([]);
  });

  it("does not move a person who has opened another chat meanwhile", async () => {
    server.add("chat_2");
    await begin();
    actions.send({ chat_id: null, content: "Why?" });
    open("chat_2");
    await settle(1);
    expect(store.getState().route).toBe("chat_2");
  });
});

describe("what others do", () => {
  it("a question from another device is read at once", async () => {
    running();
    await begin("chat_1");
    const before = calls("GET /api/chats/chat_1/messages");
    server.messages.set("chat_1", asked("chat_1", "resp_2", "And?", "streaming", { id: "msg_b" }));
    server.tell("chat_1", { current_message_id: "msg_b", running_request_id: "resp_2" });
    await settle(100);
    expect(calls("GET /api/chats/chat_1/messages")).toBe(before + 1);
    expect(server.attached).toContainEqual(["resp_2", 3]);
  });

  it("a chat deleted elsewhere goes away, and one sees the new chat", async () => {
    running();
    await begin("chat_1");
    server.tell("chat_1", { deleted: true });
    await settle(1);
    expect(store.getState().chats.chat_1).toBeUndefined();
    expect(opened).toEqual([null]);
  });

  it("an answer that ends out of sight is told, one on the screen is not", async () => {
    running();
    server.add("chat_2");
    await begin("chat_2");
    server.tell("chat_1", { running_request_id: null, unread: true, last_status: "completed" });
    expect(ended.map(({ id }) => id)).toEqual(["chat_1"]);
    server.tell("chat_2", { unread: true, last_status: "completed" });
    expect(ended.length).toBe(1);
  });

  it("a rename, and unread chats of before, are told to nobody", async () => {
    server.add("chat_1", { unread: true });
    await begin();
    server.tell("chat_1", { title: "new" });
    expect(ended).toEqual([]);
  });
});

describe("a spinner", () => {
  it("heals when the chat says that nothing runs, though the last event was missed", async () => {
    running();
    await begin("chat_1");
    server.messages.set(
      "chat_1",
      asked("chat_1", "resp_1", "Why?", "completed", { ...text("Done"), sequence_number: 9 }),
    );
    server.tell("chat_1", { running_request_id: null, last_status: "completed" });
    expect(transcript("resp_1")?.status).toBe("streaming");
    await settle(1_100);
    expect(transcript("resp_1")?.status).toBe("completed");
  });

  it("does not stop because the line closed", async () => {
    running();
    await begin("chat_1");
    server.heard?.closed();
    await settle(300);
    expect(transcript("resp_1")?.status).toBe("streaming");
    await settle(1_000);
    expect(server.attached.filter(([id]) => id === "resp_1").length).toBe(2);
  });
});

describe("deleting", () => {
  it("can be undone for some seconds", async () => {
    server.add("chat_1");
    await begin();
    actions.remove("chat_1");
    expect(store.getState().hidden.chat_1).toBe(true);
    store.getState().notices[0]?.action?.run();
    await settle(20_000);
    expect(store.getState().hidden.chat_1).toBeUndefined();
    expect(calls("DELETE /api/chats/chat_1")).toBe(0);
  });

  it("is done after that", async () => {
    server.add("chat_1");
    await begin();
    actions.remove("chat_1");
    await settle(8_000);
    expect(calls("DELETE /api/chats/chat_1")).toBe(1);
    expect(store.getState().chats.chat_1).toBeUndefined();
  });

  it("is done at once when the page goes away", async () => {
    server.add("chat_1");
    await begin();
    actions.remove("chat_1");
    dispatchEvent(new Event("pagehide"));
    expect(calls("DELETE /api/chats/chat_1")).toBe(1);
  });
});

it("a change that the server refuses is taken back, and told", async () => {
  server.add("chat_1");
  await begin();
  server.down = true;
  await actions.rename("chat_1", "other");
  expect(store.getState().chats.chat_1?.title).toBe("chat_1");
  expect(store.getState().notices[0]?.kind).toBe("failed");
});
