/** What of an answer is shown, in order: from its items to parts. */

import { isTerminal } from "~/core/fold";
import type {
  Annotation,
  CallItem,
  Item,
  MessageItem,
  ReasoningItem,
  Transcript,
} from "~/core/types";
import { safeAddress } from "../markdown/address";

export interface Source {
  address: string;
  title: string;
}

/** `called`: a tool call of a whole answer that tells no result; `stopped`: it never got its end. */
export type PartState = "running" | "done" | "called" | "stopped";

export type Part =
  | {
      kind: "text";
      key: string;
      text: string;
      growing: boolean;
      /** It ended in the middle. */
      cut: boolean;
      sources: readonly Source[];
    }
  | { kind: "refusal"; key: string; text: string }
  | { kind: "reasoning"; key: string; text: string; state: PartState; seconds: number | null }
  | {
      kind: "tool";
      key: string;
      name: string;
      arguments: string;
      output: string | null;
      state: PartState;
    };

type Seen = Transcript["seen"];
type Status = Transcript["status"];

/** Returns the parts of an answer; those of a running one may still grow. */
export function partsOf(transcript: Pick<Transcript, "items" | "status" | "seen">): Part[] {
  const { items, status, seen } = transcript;
  const live = !isTerminal(status);
  const outputs = new Map(
    items.flatMap((item) =>
      item.type === "function_call_output" ? [[item.call_id, item.output] as const] : [],
    ),
  );
  return items.flatMap((item): Part[] => {
    if (item.type === "message") return messageParts(item, live, status);
    if (item.type === "reasoning") return reasoningPart(item, live, seen);
    if (item.type === "function_call") return [toolPart(item, outputs.get(item.call_id), status)];
    return [];
  });
}

function messageParts(item: MessageItem, live: boolean, status: Status): Part[] {
  const cut = !live && (item.status !== "completed" || status !== "completed");
  const growing = live && item.status === "in_progress";
  return item.content.flatMap((part, n): Part[] => {
    const key = `${item.id}/${n}`;
    if (part.type === "refusal") return [{ kind: "refusal", key, text: part.refusal }];
    if (!part.text) return [];
    const sources = sourcesOf(part.annotations ?? []);
    return [{ kind: "text", key, text: part.text, growing, cut, sources }];
  });
}

function reasoningPart(item: ReasoningItem, live: boolean, seen: Seen): Part[] {
  const text = item.summary.map((one) => one.text).join("\n\n");
  if (!text) return [];
  const state = stateOf(item, live);
  return [{ kind: "reasoning", key: item.id, text, state, seconds: secondsOf(seen[item.id]) }];
}

function toolPart(item: CallItem, output: string | undefined, status: Status): Part {
  const state = output === undefined ? callState(item, status) : "done";
  return {
    kind: "tool",
    key: item.id,
    name: item.name,
    arguments: item.arguments,
    output: output ?? null,
    state,
  };
}

function callState(item: CallItem, status: Status): PartState {
  if (item.status === "incomplete") return "stopped";
  if (!isTerminal(status)) return "running";
  return status === "completed" ? "called" : "stopped";
}

function stateOf(item: Item, live: boolean): PartState {
  if (item.status === "incomplete") return "stopped";
  return live && item.status === "in_progress" ? "running" : "done";
}

function secondsOf(times: Seen[string] | undefined): number | null {
  return times?.ended === undefined ? null : (times.ended - times.began) / 1000;
}

/** Returns each cited page once, in the order of its first mention. */
export function sourcesOf(annotations: readonly Annotation[]): Source[] {
  const sources = new Map<string, Source>();
  for (const { url, title } of annotations) {
    const address = typeof url === "string" ? safeAddress(url) : "";
    if (!/^https?:/i.test(address) || sources.has(address)) continue;
    sources.set(address, { address, title: typeof title === "string" ? title : "" });
  }
  return Array.from(sources.values());
}

/** Returns the answer's text as a person copies it. */
export function textOf(parts: readonly Part[]): string {
  return parts
    .flatMap((part) => (part.kind === "text" || part.kind === "refusal" ? [part.text] : []))
    .join("\n\n");
}
