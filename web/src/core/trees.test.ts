/** The branch that is shown, its alternatives, and the questions that wait. */

import { describe, expect, it } from "vitest";
import { NO_TREE, type Tree } from "./state";
import { activeIn, contradicts, leafBelow, viewOf } from "./trees";
import type { Chat, MessageNode, Outgoing, Status } from "./types";

const NOW = "2026-11-26T09:00:0";
let second = 0;

function node(id: string, parent_id: string | null, request_id: string): MessageNode {
  second = (second + 1) % 10;
  const role = id.startsWith("q") ? "user" : "assistant";
  const created_at = `${NOW}${second}Z`;
  return { id, chat_id: "chat_1", parent_id, role, content: id, created_at, request_id };
}

/** q1 → a1 → q2 → a2, and a1b beside a1, q2b beside q2. */
function tree(current: string): Tree {
  second = 0;
  const nodes = [
    node("q1", null, "r1"),
    node("a1", "q1", "r1"),
    node("q2", "a1", "r2"),
    node("a2", "q2", "r2"),
    node("q2b", "a1", "r3"),
    node("a2b", "q2b", "r3"),
    node("a1b", "q1", "r4"),
  ];
  const byId = Object.fromEntries(nodes.map((one) => [one.id, one]));
  return { load: "ready", problem: null, nodes: byId, current };
}

const all = (status: Status) => () => status;
const by = (given: Record<string, Status>) => (id: string | null) => given[id ?? ""] ?? "completed";
const view = (shown: Tree, status: (id: string | null) => Status, outgoing: Outgoing[] = []) =>
  viewOf({ chat: null, tree: shown, outgoing, status });
const ids = (messages: readonly { id: string }[]) => messages.map(({ id }) => id);

describe("the branch", () => {
  it("leads from the first message to the active leaf", () => {
    expect(ids(view(tree("a2"), all("completed")).messages)).toEqual(["q1", "a1", "q2", "a2"]);
    expect(ids(view(tree("a1b"), all("completed")).messages)).toEqual(["q1", "a1b"]);
  });

  it("knows the alternatives of each message, oldest first", () => {
    const siblings = view(tree("a2"), all("completed")).messages.map((one) => one.siblings);
    expect(siblings).toEqual([["q1"], ["a1", "a1b"], ["q2", "q2b"], ["a2"]]);
  });

  it("through a message ends at the newest leaf below it", () => {
    expect(leafBelow(tree("a2"), "a1")).toBe("a2b");
    expect(leafBelow(tree("a2"), "a1b")).toBe("a1b");
  });

  it("survives a tree that leads in a circle", () => {
    const odd = tree("a2");
    const broken = { ...odd, nodes: { ...odd.nodes, q1: node("q1", "a2", "r1") } };
    expect(view(broken, all("completed")).messages.length).toBe(4);
  });
});

describe("what waits", () => {
  it("is kept out of the conversation while an earlier answer runs", () => {
    const shown = view(tree("a2"), by({ r1: "streaming", r2: "queued" }));
    expect(ids(shown.messages)).toEqual(["q1", "a1"]);
    expect(shown.queued).toEqual([
      { message_id: "q2", request_id: "r2", content: "q2", first: true },
    ]);
    expect(shown.active_request_id).toBe("r1");
  });

  it("for nothing of its own chat is shown as it is", () => {
    const shown = view(tree("a2"), by({ r2: "queued" }));
    expect(ids(shown.messages)).toEqual(["q1", "a1", "q2", "a2"]);
    expect([shown.queued, shown.active_request_id]).toEqual([[], "r2"]);
  });

  it("is not over because its state is unknown", () => {
    expect(activeIn(tree("a2"), by({ r2: "unknown" }))).toBe("r2");
  });
});

describe("an edited question on its way", () => {
  const outgoing = (more: Partial<Outgoing>): Outgoing => ({
    key: "k",
    chat_id: "chat_1",
    agent_id: null,
    content: "other",
    parent_id: null,
    from_root: false,
    if_busy: "queue",
    state: "sending",
    problem: null,
    created_at: 0,
    ...more,
  });

  it("takes the place of what it replaces", () => {
    const edit = outgoing({ parent_id: "a1" });
    expect(ids(view(tree("a2"), all("completed"), [edit]).messages)).toEqual(["q1", "a1"]);
  });

  it("of the first question leaves nothing before it", () => {
    const edit = outgoing({ from_root: true });
    expect(view(tree("a2"), all("completed"), [edit]).messages).toEqual([]);
  });

  it("is not confused with a new one, which follows", () => {
    expect(view(tree("a2"), all("completed"), [outgoing({})]).messages.length).toBe(4);
  });
});

describe("a chat and its tree", () => {
  const chat = (more: Partial<Chat>): Chat => ({
    id: "chat_1",
    agent_id: "guide",
    title: "t",
    created_at: `${NOW}0Z`,
    updated_at: `${NOW}0Z`,
    revision: 1,
    pinned: false,
    archived: false,
    deleted: false,
    current_message_id: "a2",
    running_request_id: null,
    queued: 0,
    unread: false,
    last_status: "completed",
    ...more,
  });

  it("agree when both are done", () => {
    expect(contradicts(chat({}), tree("a2"), all("completed"))).toBe(false);
  });

  it.each<[string, Partial<Chat>, Record<string, Status>]>([
    ["a question came from another device", { current_message_id: "a9" }, {}],
    ["an answer runs that is not known", { running_request_id: "r9" }, {}],
    ["an answer seems to run that has ended", {}, { r2: "streaming" }],
    ["an answer is unknown", {}, { r2: "unknown" }],
    ["more waits than is known", { queued: 1 }, {}],
  ])("contradict each other when %s", (_, changes, statuses) => {
    expect(contradicts(chat(changes), tree("a2"), by(statuses))).toBe(true);
  });

  it("a tree that is still being read contradicts nothing", () => {
    expect(contradicts(chat({ queued: 3 }), NO_TREE, all("completed"))).toBe(false);
  });
});
