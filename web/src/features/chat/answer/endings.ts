/** How an answer ended, in words for the person who asked, and what can be done about it. */

import type { Failure, Item, Transcript } from "~/core/types";

export interface Ending {
  tone: "danger" | "warning" | "quiet";
  title: string;
  detail: string;
  /** What helps: go on behind the text that is there, or ask once more. */
  next: ("continue" | "retry")[];
}

const TITLES: Record<string, string> = {
  upstream_unreachable: "The agent cannot be reached",
  upstream_refused: "The agent refused this request",
  upstream_rate_limited: "The agent is busy",
  upstream_error: "The agent had a problem",
  upstream_dropped: "The agent hung up in the middle of its answer",
  upstream_garbage: "The agent sent something that makes no sense",
  first_byte_timeout: "The agent did not begin to answer",
  idle_timeout: "The agent fell silent",
  total_timeout: "The answer took too long",
  answer_too_large: "The answer grew too long to keep",
  agent_error: "The agent had a problem",
  agent_removed: "This agent is no longer here",
  worker_lost: "The answer was interrupted",
  interrupted: "The answer was interrupted",
  auth_required: "Your sign-in has ended",
};
const INTERRUPTED = new Set(["interrupted", "worker_lost", "upstream_dropped", "idle_timeout"]);
const HOPELESS = new Set(["agent_removed"]);

type Ended = Pick<Transcript, "status" | "error" | "incomplete_reason" | "items">;

/** Returns what to say below an answer; null = nothing, it is whole or still comes. */
export function endingOf(ended: Ended, text: string): Ending | null {
  const { status, error, incomplete_reason, items } = ended;
  if (status === "failed") return failed(error, text);
  if (status === "cancelled") return cancelled(text);
  if (status === "completed" && incomplete_reason) return cutShort(incomplete_reason);
  return status === "completed" && text.trim() === "" && !items.some(isCall) ? EMPTY : null;
}

const EMPTY: Ending = {
  tone: "quiet",
  title: "The agent answered with nothing",
  detail: "",
  next: ["retry"],
};

/** Calls that are to be answered elsewhere are an answer too. */
function isCall({ type }: Item): boolean {
  return type === "function_call";
}

function failed(error: Failure | null, text: string): Ending {
  const code = error?.code ?? "";
  const goOn = text !== "" && INTERRUPTED.has(code);
  const kept = text ? " What it had said is kept." : "";
  const still = INTERRUPTED.has(code) ? " It does not go on by itself." : "";
  return {
    tone: "danger",
    title: TITLES[code] ?? "The answer failed",
    detail: `${sentence(error?.message ?? "")}${kept}${still}`.trim(),
    next: HOPELESS.has(code) ? [] : goOn ? ["continue", "retry"] : ["retry"],
  };
}

function cancelled(text: string): Ending {
  return {
    tone: "quiet",
    title: "Stopped",
    detail: text ? "" : "Nothing had been said yet.",
    next: text ? ["continue", "retry"] : ["retry"],
  };
}

function cutShort(reason: string): Ending {
  if (reason === "max_output_tokens") {
    const detail = "The model reached the length limit of one answer.";
    return { tone: "warning", title: "Cut short", detail, next: ["continue"] };
  }
  const filtered = reason === "content_filter";
  const detail = filtered ? "The model's content filter ended it." : sentence(reason);
  return { tone: "warning", title: "Cut short", detail, next: ["retry"] };
}

function sentence(words: string): string {
  const trimmed = words.trim();
  return !trimmed || /[.!?…]$/.test(trimmed) ? trimmed : `${trimmed}.`;
}
