/** What the operator page asks the server for, again and again while it is looked at. */

import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type * as sent from "~/core/api.gen";
import { api } from "~/hooks/connected";

const EACH_MS = 4_000;
const REQUESTS = ["admin", "requests"];

export interface Wanted {
  status: string;
  user: string;
}

export function useOverview(hours: number): {
  overview: sent.Overview | null;
  problem: Error | null;
} {
  const { data, error } = useQuery({
    queryKey: ["admin", "overview", hours],
    queryFn: () => api.admin<sent.Overview>("GET", `/overview?hours=${hours}`),
    refetchInterval: EACH_MS,
    placeholderData: (before) => before,
  });
  return { overview: data ?? null, problem: error };
}

/** Everybody's requests, newest first, page by page. */
export function useEveryone({ status, user }: Wanted) {
  const { data, error, hasNextPage, fetchNextPage } = useInfiniteQuery({
    queryKey: [...REQUESTS, status, user],
    queryFn: ({ pageParam }) => {
      const query = new URLSearchParams({ limit: "30" });
      for (const [name, value] of Object.entries({ status, user, cursor: pageParam })) {
        if (value) query.set(name, value);
      }
      return api.admin<sent.AnyRequestPage>("GET", `/requests?${query}`);
    },
    initialPageParam: "",
    getNextPageParam: (page) => page.next_cursor,
    refetchInterval: EACH_MS,
    placeholderData: (before) => before,
  });
  return {
    requests: data?.pages.flatMap((page) => page.requests) ?? null,
    problem: error,
    more: hasNextPage ? () => void fetchNextPage() : null,
  };
}

/** Stop a request of anybody, or answer its question once more. */
export function useDeed(what: "cancel" | "retry") {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (id: string) =>
      api.admin<sent.AnyRequest>("POST", `/requests/${encodeURIComponent(id)}/${what}`),
    onSettled: () => queries.invalidateQueries({ queryKey: REQUESTS }),
  });
}
