/** What the page asks the server for about one's tokens. A secret is nowhere but on the screen. */

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type * as sent from "~/core/api.gen";
import { api } from "~/hooks/connected";

const TOKENS = ["tokens"];

export function useTokens(): { tokens: sent.Token[] | null; problem: Error | null } {
  const { data, error } = useQuery({ queryKey: TOKENS, queryFn: () => api.tokens() });
  return { tokens: data?.tokens ?? null, problem: error };
}

export function useMake() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (wanted: sent.NewToken) => api.makeToken(wanted),
    gcTime: 0,
    onSettled: () => queries.invalidateQueries({ queryKey: TOKENS }),
  });
}

export function useRevoke() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (id: string) => api.revokeToken(id),
    onSettled: () => queries.invalidateQueries({ queryKey: TOKENS }),
  });
}
