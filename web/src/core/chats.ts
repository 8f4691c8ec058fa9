/** The list of chats: order, groups, and what one slot per row says. Pure. */

import type { Chat } from "./types";

export type RowState =
  | { kind: "answering" }
  | { kind: "queued"; position: number | null }
  | { kind: "attention" }
  | { kind: "unread" }
  | { kind: "time"; at: string };

export function rowState(chat: Chat, position: number | null): RowState {
  if (chat.running_request_id) return { kind: "answering" };
  if (chat.queued > 0) return { kind: "queued", position };
  if (chat.unread) return { kind: chat.last_status === "failed" ? "attention" : "unread" };
  return { kind: "time", at: chat.updated_at };
}

/** Newest question first. The server moves `updated_at` only when a question is asked: rows stay
 * where they are while answers run and end. */
export function inOrder(chats: Iterable<Chat>): Chat[] {
  return [...chats].sort(
    (a, b) => b.updated_at.localeCompare(a.updated_at) || a.id.localeCompare(b.id),
  );
}

export interface Group {
  name: string;
  chats: Chat[];
}

const DAY_MS = 86_400_000;

/** Part chats, newest first, into pinned ones and spans of days. */
export function groupsOf(chats: Iterable<Chat>, now: Date): Group[] {
  const groups = new Map<string, Chat[]>();
  const ordered = inOrder(chats);
  for (const chat of [...ordered.filter(isPinned), ...ordered.filter((one) => !isPinned(one))]) {
    const name = chat.pinned ? "Pinned" : spanOf(new Date(chat.updated_at), now);
    const known = groups.get(name);
    if (known) known.push(chat);
    else groups.set(name, [chat]);
  }
  return [...groups].map(([name, members]) => ({ name, chats: members }));
}

const isPinned = (chat: Chat) => chat.pinned;

function spanOf(at: Date, now: Date): string {
  const days = Math.round((midnight(now) - midnight(at)) / DAY_MS);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days <= 7) return "Previous 7 days";
  if (days <= 30) return "Previous 30 days";
  const month = { month: "long", year: "numeric" } as const;
  return at.toLocaleDateString(undefined, month);
}

function midnight(at: Date): number {
  return new Date(at.getFullYear(), at.getMonth(), at.getDate()).getTime();
}

/** Take in newer states of chats; older ones, and those of deleted chats, change nothing. */
export function merged(
  known: Readonly<Record<string, Chat>>,
  told: readonly Chat[],
): Readonly<Record<string, Chat>> {
  const chats = { ...known };
  for (const chat of told) {
    const before = chats[chat.id];
    if (before && before.revision > chat.revision) continue;
    chats[chat.id] = chat;
  }
  return chats;
}
