/** What the browser keeps, and how the connection stands. */

import { useCallback, useEffect, useState } from "react";
import { useStore } from "zustand";
import { keepDraft, loadDraft } from "~/core/keep";
import { at } from "~/core/root";
import type { Connection, Notice, Preferences } from "~/core/types";
import { store } from "./connected";

export function useConnection(): Connection {
  return useStore(store, (state) => state.connection);
}

export function usePreferences(): Preferences {
  return useStore(store, (state) => state.preferences);
}

export function useNotices(): readonly Notice[] {
  return useStore(store, (state) => state.notices);
}

/** Let the browser keep a chat as a file. */
export function download(chat_id: string, format: "md" | "json"): void {
  const link = document.createElement("a");
  link.href = at(`/api/chats/${chat_id}/export?format=${format}`);
  link.download = "";
  link.click();
}

/** The draft of a chat (null = of the new one), kept in the browser. */
export function useDraft(chatId: string | null): [string, (text: string) => void] {
  const [draft, setDraft] = useState(() => loadDraft(chatId));
  useEffect(() => setDraft(loadDraft(chatId)), [chatId]);
  const keep = useCallback(
    (text: string) => {
      setDraft(text);
      keepDraft(chatId, text);
    },
    [chatId],
  );
  return [draft, keep];
}
