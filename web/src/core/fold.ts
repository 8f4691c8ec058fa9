/** The answer is the fold of its events: the twin of `src/perdure/fold.py`, tested on the same
 * recorded streams. Items are found by their ids, which never repeat within a log, so that a fold
 * can also go on from a snapshot. */

import type { ContentPart, Failure, Item, Status, Usage } from "./types";

/** An event of a request's log, in the vocabulary of Open Responses. */
export interface StreamEvent {
  type: string;
  sequence_number: number;
  item_id?: string;
  content_index?: number;
  summary_index?: number;
  delta?: string;
  item?: Item;
  part?: Part;
  annotation?: unknown;
  response?: Response;
}

type Part = ContentPart | { type: "summary_text"; text: string };

interface Response {
  status?: string;
  output?: Item[];
  error?: Failure | null;
  usage?: Usage | null;
  metadata?: Record<string, string> | null;
  incomplete_details?: { reason?: string } | null;
}

/** Where a fold may begin instead of at event 0. */
export interface Snapshot {
  status: Status;
  sequence_number: number;
  items: readonly Item[];
  error: Failure | null;
  incomplete_reason: string | null;
}

interface Entry {
  group: number;
  item: Item;
}

const STATUS: Readonly<Record<string, Status>> = {
  queued: "queued",
  in_progress: "streaming",
  completed: "completed",
  incomplete: "completed",
  failed: "failed",
  cancelled: "cancelled",
};

/** Whether nothing can follow; `unknown` is no end. */
export function isTerminal(status: Status): boolean {
  return status === "completed" || status === "failed" || status === "cancelled";
}

/** What a log says so far. */
export class Fold {
  sequence_number = -1;
  attempt = 0;
  status: Status = "queued";
  ended = false;
  error: Failure | null = null;
  usage: Usage | null = null;
  incomplete_reason: string | null = null;
  private readonly entries = new Map<string, Entry>();
  private group = 0;
  private metadata: Record<string, string> = {};
  private output: readonly Item[] = [];
  private shown: Snapshot | null = null;

  /** Go on from a snapshot, whose items belong to the attempt that runs.
   *
   * Where the last one broke off, the next attempt may continue or replace them: then the snapshot
   * is shown until the log, read from its start, has come as far. */
  static from(snapshot: Snapshot): Fold {
    const fold = new Fold();
    if (snapshot.status === "streaming" && snapshot.items.at(-1)?.status === "incomplete") {
      fold.shown = snapshot;
      fold.status = "streaming";
      return fold;
    }
    fold.sequence_number = snapshot.sequence_number;
    fold.status = snapshot.status;
    fold.ended = isTerminal(snapshot.status);
    fold.error = snapshot.error;
    fold.incomplete_reason = snapshot.incomplete_reason;
    fold.output = snapshot.items;
    fold.attempt = snapshot.status === "queued" ? 0 : 1;
    fold.group = 1;
    for (const item of snapshot.items) fold.entries.set(item.id, { group: 1, item });
    return fold;
  }

  /** Advance by one event; unknown types change nothing. Throws when it is not the next one, or
   * belongs to an item or part that was never added. */
  apply(event: StreamEvent): void {
    if (event.sequence_number !== this.sequence_number + 1 || this.ended) {
      throw new Error(`event ${event.sequence_number} cannot follow ${this.sequence_number}`);
    }
    const before = this.status;
    CHANGES[event.type]?.(this, event);
    this.sequence_number = event.sequence_number;
    if (this.shown && !this.ended) this.catchUp(before);
  }

  /** The newest event in what is shown. */
  get reached(): number {
    return Math.max(this.sequence_number, this.shown?.sequence_number ?? -1);
  }

  /** The items that count: those of the latest attempt that has any; once ended, the final ones. */
  answer(): readonly Item[] {
    if (this.ended) return this.output;
    return this.shown?.items ?? this.latest().items;
  }

  /** The answer's text, refusals included. */
  text(): string {
    return textOf(this.answer());
  }

  created(event: StreamEvent): void {
    this.lifecycle(event);
    this.metadata = event.response?.metadata ?? {};
  }

  lifecycle(event: StreamEvent): void {
    this.status = STATUS[event.response?.status ?? ""] ?? this.status;
  }

  inProgress(event: StreamEvent): void {
    this.lifecycle(event);
    const metadata = event.response?.metadata ?? {};
    const told = metadata.attempt ?? "";
    const own = told !== this.metadata.attempt && /^\d+$/.test(told);
    this.attempt = own ? Number(told) : this.attempt + 1;
    const earlier = metadata.recovery === "continue" ? this.latest().group : 0;
    this.group = earlier || Math.max(0, ...this.groups()) + 1;
  }

  terminal(event: StreamEvent): void {
    this.lifecycle(event);
    const response = event.response ?? {};
    this.output = response.output ?? [];
    this.error = response.error ?? null;
    this.usage = response.usage ?? null;
    this.incomplete_reason = response.incomplete_details?.reason ?? null;
    this.ended = true;
  }

  itemAdded(event: StreamEvent): void {
    const item = given(event.item, event);
    this.entries.set(item.id, { group: this.group, item });
  }

  itemDone(event: StreamEvent): void {
    const item = given(event.item, event);
    this.entry(item.id, event).item = item;
  }

  partAdded(event: StreamEvent): void {
    const part = given(event.part, event);
    this.change(event, (item) => withPart(item, part));
  }

  delta(event: StreamEvent): void {
    const place = event.content_index || event.summary_index || 0;
    this.change(event, (item) => grown(item, place, event));
  }

  annotate(event: StreamEvent): void {
    const place = event.content_index ?? 0;
    this.change(event, (item) => annotated(item, place, event));
  }

  private catchUp(status: Status): void {
    if (this.sequence_number >= (this.shown?.sequence_number ?? 0)) this.shown = null;
    else this.status = status;
  }

  private change(event: StreamEvent, how: (item: Item) => Item): void {
    const entry = this.entry(event.item_id ?? "", event);
    entry.item = how(entry.item);
  }

  private entry(id: string, event: StreamEvent): Entry {
    return given(this.entries.get(id), event);
  }

  private groups(): number[] {
    return [...this.entries.values()].map((entry) => entry.group);
  }

  private latest(): { group: number; items: Item[] } {
    for (const group of [...new Set(this.groups())].sort((a, b) => b - a)) {
      const items = [...this.entries.values()]
        .filter((entry) => entry.group === group && !isBrokenCall(entry.item))
        .map((entry) => entry.item);
      if (items.length > 0) return { group, items };
    }
    return { group: 0, items: [] };
  }
}

type Change = (fold: Fold, event: StreamEvent) => void;

const delta: Change = (fold, event) => fold.delta(event);
const partAdded: Change = (fold, event) => fold.partAdded(event);
const terminal: Change = (fold, event) => fold.terminal(event);

const CHANGES: Readonly<Record<string, Change>> = {
  "response.created": (fold, event) => fold.created(event),
  "response.queued": (fold, event) => fold.lifecycle(event),
  "response.in_progress": (fold, event) => fold.inProgress(event),
  "response.completed": terminal,
  "response.incomplete": terminal,
  "response.failed": terminal,
  "response.output_item.added": (fold, event) => fold.itemAdded(event),
  "response.output_item.done": (fold, event) => fold.itemDone(event),
  "response.content_part.added": partAdded,
  "response.reasoning_summary_part.added": partAdded,
  "response.output_text.annotation.added": (fold, event) => fold.annotate(event),
  "response.output_text.delta": delta,
  "response.refusal.delta": delta,
  "response.reasoning_summary_text.delta": delta,
  "response.function_call_arguments.delta": delta,
};

/** The text of all messages of an output, refusals included. */
export function textOf(items: readonly Item[]): string {
  let text = "";
  for (const item of items) {
    if (item.type !== "message") continue;
    for (const part of item.content) text += part.type === "refusal" ? part.refusal : part.text;
  }
  return text;
}

function given<T>(value: T | undefined, event: StreamEvent): T {
  if (value === undefined) {
    throw new Error(`event ${event.sequence_number} makes no sense: ${event.type}`);
  }
  return value;
}

function withPart(item: Item, part: Part): Item {
  if (item.type === "reasoning" && part.type === "summary_text") {
    return { ...item, summary: [...item.summary, part] };
  }
  if (item.type === "message" && part.type !== "summary_text") {
    return { ...item, content: [...item.content, part] };
  }
  return item;
}

function grown(item: Item, place: number, event: StreamEvent): Item {
  const text = event.delta ?? "";
  switch (item.type) {
    case "function_call":
      return { ...item, arguments: item.arguments + text };
    case "reasoning": {
      const part = given(item.summary[place], event);
      return { ...item, summary: item.summary.with(place, { ...part, text: part.text + text }) };
    }
    case "message": {
      const part = given(item.content[place], event);
      return { ...item, content: item.content.with(place, longer(part, text)) };
    }
    default:
      return item;
  }
}

function longer(part: ContentPart, text: string): ContentPart {
  return part.type === "refusal"
    ? { ...part, refusal: part.refusal + text }
    : { ...part, text: part.text + text };
}

function annotated(item: Item, place: number, event: StreamEvent): Item {
  if (item.type !== "message") return item;
  const part = given(item.content[place], event);
  if (part.type !== "output_text") return item;
  const annotations = [...(part.annotations ?? []), event.annotation as { type: string }];
  return { ...item, content: item.content.with(place, { ...part, annotations }) };
}

/** A tool call that broke off in mid-arguments does not count. */
function isBrokenCall(item: Item): boolean {
  return (
    item.type === "function_call" && item.status === "incomplete" && !parses(item.arguments ?? "")
  );
}

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
