/** The list: order, groups, and the one slot of each row. */

import { describe, expect, it, test } from "vitest";
import { groupsOf, inOrder, merged, rowState } from "./chats";
import type { Chat } from "./types";

const NOW = new Date(2026, 10, 26, 12, 0, 0);

function chat(id: string, more: Partial<Chat> = {}): Chat {
  return {
    id,
    agent_id: "guide",
    title: id,
    created_at: NOW.toISOString(),
    updated_at: NOW.toISOString(),
    revision: 1,
    pinned: false,
    archived: false,
    deleted: false,
    current_message_id: null,
    running_request_id: null,
    queued: 0,
    unread: false,
    last_status: "completed",
    ...more,
  };
}

const daysAgo = (days: number) => new Date(NOW.getTime() - days * 86_400_000).toISOString();

describe("the slot of a row", () => {
  it.each<[string, Partial<Chat>, string]>([
    ["answering", { running_request_id: "r", unread: true, queued: 2 }, "answering"],
    ["queued", { queued: 1, unread: true }, "queued"],
    ["needing attention", { unread: true, last_status: "failed" }, "attention"],
    ["unread", { unread: true }, "unread"],
    ["read", {}, "time"],
    ["failed, but looked at", { last_status: "failed" }, "time"],
  ])("of a chat that is %s", (_, changes, kind) => {
    expect(rowState(chat("a", changes), null).kind).toBe(kind);
  });

  it("tells the place in the queue", () => {
    expect(rowState(chat("a", { queued: 1 }), 3)).toEqual({ kind: "queued", position: 3 });
  });
});

test("rows stay where they are while answers run, end and are read", () => {
  const before = [
    chat("a", { updated_at: daysAgo(1) }),
    chat("b"),
    chat("c", { updated_at: daysAgo(2) }),
  ];
  const changed = before.map((one) => ({
    ...one,
    unread: true,
    running_request_id: "r",
    revision: 9,
  }));
  expect(inOrder(changed).map(({ id }) => id)).toEqual(inOrder(before).map(({ id }) => id));
});

test("chats are grouped by date, pinned ones first", () => {
  const groups = groupsOf(
    [
      chat("today"),
      chat("yesterday", { updated_at: daysAgo(1) }),
      chat("week", { updated_at: daysAgo(5) }),
      chat("month", { updated_at: daysAgo(20) }),
      chat("pinned", { updated_at: daysAgo(400), pinned: true }),
      chat("old", { updated_at: daysAgo(400) }),
    ],
    NOW,
  );
  expect(groups.map(({ name }) => name).slice(0, 5)).toEqual([
    "Pinned",
    "Today",
    "Yesterday",
    "Previous 7 days",
    "Previous 30 days",
  ]);
  expect(groups.flatMap(({ chats }) => chats.map(({ id }) => id))).toEqual([
    "pinned",
    "today",
    "yesterday",
    "week",
    "month",
    "old",
  ]);
});

test("an older state of a chat never replaces a newer one", () => {
  const known = { a: chat("a", { revision: 5, title: "new" }) };
  expect(merged(known, [chat("a", { revision: 4, title: "old" })]).a?.title).toBe("new");
  expect(merged(known, [chat("a", { revision: 6, title: "newer" })]).a?.title).toBe("newer");
});
