/** What the details panel says of a request, line by line. */

import { durationOf } from "~/core/durations";
import type { RequestDetails, Usage } from "~/core/types";

export interface Fact {
  name: string;
  value: string;
}

const STATUS: Record<RequestDetails["status"], string> = {
  queued: "Waiting",
  streaming: "Answering",
  completed: "Completed",
  failed: "Failed",
  cancelled: "Stopped",
  unknown: "Unknown",
};

/** Returns the facts that are known. */
export function factsOf(details: RequestDetails, agent: string): Fact[] {
  const { status, error, incomplete_reason, attempt, attempts_max } = details;
  const reason = error ? `: ${error.message}` : incomplete_reason ? `: ${incomplete_reason}` : "";
  return [
    { name: "Status", value: `${STATUS[status]}${reason}` },
    { name: "Agent", value: agent },
    {
      name: "Attempts",
      value: attempt > 1 ? `${attempt} (up to ${attempts_max} lost)` : `${attempt}`,
    },
    { name: "Asked", value: moment(details.created_at) },
    ...timing("Waited", details.created_at, details.started_at),
    ...timing("Answered in", details.started_at, details.completed_at),
    ...tokens(details.usage),
    { name: "Events", value: String(details.sequence_number + 1) },
  ];
}

function moment(at: string): string {
  return new Date(at).toLocaleString();
}

function timing(name: string, from: string | null, to: string | null): Fact[] {
  if (!from || !to) return [];
  const seconds = (Date.parse(to) - Date.parse(from)) / 1000;
  return [{ name, value: durationOf(Math.max(0, seconds)) }];
}

function tokens(usage: Usage | null): Fact[] {
  if (!usage) return [];
  const { input_tokens: read = 0, output_tokens: written = 0 } = usage;
  const count = (n: number) => n.toLocaleString();
  return [{ name: "Tokens", value: `${count(read)} read, ${count(written)} written` }];
}

/** Returns the address of a trace's page; "" when there is none. */
export function traceAddress(template: string, trace_id: string | null): string {
  if (!template || !trace_id) return "";
  return template.replaceAll("{trace_id}", encodeURIComponent(trace_id));
}
