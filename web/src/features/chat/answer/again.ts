/** Why an answer was begun again, in words. */

const REASONS: Record<string, string> = {
  hand_over: "the server was restarted",
  worker_lost: "the server was interrupted",
  upstream_dropped: "the agent hung up",
  upstream_unreachable: "the agent could not be reached",
};

/** Returns what to say above an answer that is not the first attempt; "" = nothing. */
export function againOf(attempt: number, reason: string | null): string {
  if (attempt < 2) return "";
  return `Started again after ${REASONS[reason ?? ""] ?? "an interruption"} (attempt ${attempt})`;
}
