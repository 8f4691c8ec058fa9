/** What is asked of the server now and then. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback } from "react";
import { problemText } from "~/core/api";
import type { Agent, Config, RequestDetails, Trace } from "~/core/types";
import { useTranscript } from "./chat";
import { api } from "./connected";

const FOR_EVER = { staleTime: Number.POSITIVE_INFINITY };

export function useAgents(): { agents: Agent[]; default_agent_id: string; loading: boolean } {
  const { data, isPending } = useQuery({
    queryKey: ["agents"],
    queryFn: () => api.agents(),
    ...FOR_EVER,
  });
  return {
    agents: data?.agents ?? [],
    default_agent_id: data?.default_agent_id ?? "",
    loading: isPending,
  };
}

export function useConfig(): Config | null {
  const { data } = useQuery({ queryKey: ["config"], queryFn: () => api.config(), ...FOR_EVER });
  return data ?? null;
}

/** Who the server takes one for. */
export function useMe(): { user_id: string; display: string; admin: boolean } | null {
  const { data } = useQuery({ queryKey: ["me"], queryFn: () => api.me(), ...FOR_EVER });
  return data ?? null;
}

/** The details of a request; read when asked for, and again when it goes on. */
export function useRequestDetails(requestId: string | null): {
  details: RequestDetails | null;
  loading: boolean;
} {
  const transcript = useTranscript(requestId);
  const { data, isPending } = useQuery({
    queryKey: ["request", requestId, transcript?.status, transcript?.attempt],
    queryFn: () => api.request(requestId ?? ""),
    enabled: requestId !== null,
    placeholderData: (before) => before,
  });
  return { details: requestId ? (data ?? null) : null, loading: isPending };
}

/** The raw events of a request, read on demand: as far as they are. */
export function useRawEvents(requestId: string | null): {
  events: unknown[] | null;
  problem: string | null;
} {
  const { data, error } = useQuery({
    queryKey: ["events", requestId],
    queryFn: ({ signal }) => api.events(requestId ?? "", signal),
    enabled: requestId !== null,
    retry: false,
    gcTime: 0,
  });
  return { events: data ?? null, problem: error ? problemText(error) : null };
}

/** The agent's own record of an answer, read on demand; it may come a moment after the answer. */
export function useTrace(requestId: string | null): {
  trace: Trace | null;
  problem: string | null;
} {
  const { data, error } = useQuery({
    queryKey: ["trace", requestId],
    queryFn: () => api.trace(requestId ?? ""),
    enabled: requestId !== null,
    retry: 2,
    staleTime: 10_000,
  });
  return { trace: data ?? null, problem: error ? problemText(error) : null };
}

/** One's verdict on an answer; null = none. `refresh` after giving one. */
export function useFeedback(requestId: string | null): {
  value: boolean | null;
  rationale: string | null;
  refresh: () => void;
} {
  const queries = useQueryClient();
  const { data } = useQuery({
    queryKey: ["feedback", requestId],
    queryFn: () => api.feedback(requestId ?? ""),
    enabled: requestId !== null,
    staleTime: 60_000,
    retry: false,
  });
  const refresh = useCallback(
    () => void queries.invalidateQueries({ queryKey: ["feedback", requestId] }),
    [queries, requestId],
  );
  const given = data?.feedback.filter((one) => one.name === "thumbs").at(-1);
  const value = typeof given?.value === "boolean" ? given.value : null;
  return { value, rationale: given?.rationale ?? null, refresh };
}
