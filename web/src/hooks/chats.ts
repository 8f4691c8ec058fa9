/** The list of chats: pages from the server, kept fresh by the live line. */

import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { useStore } from "zustand";
import { inOrder } from "~/core/chats";
import type { Chat } from "~/core/types";
import { api, client, store } from "./connected";

export interface ChatList {
  chats: readonly Chat[];
  loading: boolean;
  failed: boolean;
  more: boolean;
  loadingMore: boolean;
  loadMore: () => void;
}

/** The chats, newest question first, page by page; or the archived ones. */
export function useChatList(archived: boolean): ChatList {
  const pages = useInfiniteQuery({
    queryKey: ["chats", archived],
    queryFn: async ({ pageParam }) => {
      const page = await api.chats({ archived, cursor: pageParam });
      client.takeChats(page.chats as Chat[]);
      return page.next_cursor;
    },
    initialPageParam: null as string | null,
    getNextPageParam: (next) => next,
    staleTime: Number.POSITIVE_INFINITY,
  });
  const chats = useStore(store, (state) => state.chats);
  const hidden = useStore(store, (state) => state.hidden);
  const shown = useMemo(
    () =>
      inOrder(
        Object.values(chats).filter(
          (chat) => chat.archived === archived && !chat.deleted && !hidden[chat.id],
        ),
      ),
    [chats, hidden, archived],
  );
  return {
    chats: shown,
    loading: pages.isPending,
    failed: pages.isError,
    more: pages.hasNextPage,
    loadingMore: pages.isFetchingNextPage,
    loadMore: () => void pages.fetchNextPage(),
  };
}

/** The chats in which a text occurs; null while nothing is sought. */
export function useChatSearch(text: string): { chats: readonly Chat[]; loading: boolean } | null {
  const q = text.trim();
  const found = useQuery({
    queryKey: ["search", q],
    queryFn: async () => {
      const page = await api.chats({ q, limit: 30 });
      client.takeChats(page.chats as Chat[]);
      return page.chats.map((chat) => chat.id);
    },
    enabled: q !== "",
    placeholderData: (before) => before,
    staleTime: 5_000,
  });
  const chats = useStore(store, (state) => state.chats);
  const hidden = useStore(store, (state) => state.hidden);
  const ids = found.data;
  return useMemo(() => {
    if (q === "") return null;
    const shown = (ids ?? []).flatMap((id) => (hidden[id] ? [] : (chats[id] ?? [])));
    return { chats: shown.filter((chat) => !chat.deleted), loading: found.isPending };
  }, [q, ids, chats, hidden, found.isPending]);
}
