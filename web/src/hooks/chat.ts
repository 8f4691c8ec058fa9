/** One chat and its answers. */

import { useMemo } from "react";
import { useStore } from "zustand";
import { NO_TREE, type State } from "~/core/state";
import { unfinished, viewOf } from "~/core/trees";
import type { ChatView, Status, Transcript } from "~/core/types";
import { client, store } from "./connected";

const NEW = { ...NO_TREE, load: "ready" as const };

/** All of a chat; null = the new, empty one. */
export function useChat(chatId: string | null): ChatView {
  const chat = useStore(store, (state) => (chatId ? (state.chats[chatId] ?? null) : null));
  const tree = useStore(store, (state) => (chatId ? (state.trees[chatId] ?? NO_TREE) : NEW));
  const all = useStore(store, (state) => state.outgoing);
  const standing = useStore(store, (state) => standingOf(state, chatId));
  return useMemo(() => {
    const outgoing = all.filter((one) => one.chat_id === chatId);
    const status = (id: string | null): Status => client.statusOf(id);
    void standing; // the statuses that `status` looks up
    return viewOf({ chat, tree, outgoing, status });
  }, [chat, tree, all, chatId, standing]);
}

/** What of a chat's answers is unfinished and how, as one comparable text. */
function standingOf(state: State, chatId: string | null): string {
  const tree = chatId ? state.trees[chatId] : undefined;
  if (!tree) return "";
  const status = (id: string | null): Status => (id && state.transcripts[id]?.status) || "unknown";
  return unfinished(tree, status)
    .map((id) => id + status(id))
    .join();
}

/** One answer; re-renders at most once per animation frame. */
export function useTranscript(requestId: string | null): Transcript | null {
  return useStore(store, (state) => (requestId ? (state.transcripts[requestId] ?? null) : null));
}
