/** Answers as they grow, keyed by request and event number: one reducer for every way in.
 *
 * Known events are dropped, a hole is read again from one's own number, an older snapshot changes
 * nothing. Readers see changes once per frame. */

import type { Message } from "./api.gen";
import { Fold, isTerminal, type StreamEvent } from "./fold";
import type { Store } from "./state";
import type { Item, Status, Transcript } from "./types";

type Seen = Record<string, { began: number; ended?: number }>;

/** After joining a log it takes so long, at most, until what is told happens now. */
const CATCHING_UP_MS = 2_000;

interface Growing {
  fold: Fold;
  seen: Seen;
  /** From when on events are heard as they happen, unix ms; earlier ones tell nothing of times. */
  live_at: number;
  trace_id: string | null;
  queue_position: number | null;
  /** A hole was found and the log is being read again from here. */
  rereading: boolean;
}

export interface Doing {
  /** Read a request's log again, after this event. */
  reread(request_id: string, after: number): void;
  ended(request_id: string): void;
  frame(act: () => void): void;
}

export class Transcripts {
  private readonly growing = new Map<string, Growing>();
  private readonly changed = new Set<string>();
  private waiting = false;

  constructor(
    private readonly store: Store,
    private readonly doing: Doing,
  ) {}

  /** Take an answer as the server shows it in a chat's messages. */
  take(message: Message): void {
    if (!message.request_id) return;
    const number = message.sequence_number ?? -1;
    const known = this.growing.get(message.request_id);
    if (known && !isNewer(known.fold, number, message.status ?? "completed")) {
      this.tell(known, message);
    } else {
      this.growing.set(message.request_id, {
        fold: Fold.from({
          status: message.status ?? "completed",
          sequence_number: number,
          items: itemsOf(message),
          error: message.error ?? null,
          incomplete_reason: message.incomplete_reason ?? null,
        }),
        seen: known?.seen ?? {},
        live_at: known?.live_at ?? Number.POSITIVE_INFINITY,
        trace_id: message.trace_id ?? null,
        queue_position: message.queue_position ?? null,
        rereading: false,
      });
    }
    this.publishSoon(message.request_id);
  }

  /** Begin an answer that was just asked for. */
  begin(request_id: string): void {
    if (this.growing.has(request_id)) return;
    const fold = new Fold();
    const nothing = { trace_id: null, queue_position: null, rereading: false };
    this.growing.set(request_id, { fold, seen: {}, live_at: 0, ...nothing });
    this.publish(request_id);
  }

  /** What was said meanwhile is told first: what begins or ends in there has no time. */
  joined(request_id: string): void {
    const growing = this.growing.get(request_id);
    if (!growing || growing.fold.sequence_number < 0) return;
    growing.live_at = Date.now() + CATCHING_UP_MS;
    growing.seen = Object.fromEntries(
      Object.entries(growing.seen).filter(([, mark]) => mark.ended !== undefined),
    );
  }

  hear(request_id: string, event: StreamEvent): void {
    const growing = this.growing.get(request_id);
    if (!growing || event.sequence_number <= growing.fold.sequence_number) return;
    const { fold } = growing;
    if (fold.ended) return;
    if (event.sequence_number > fold.sequence_number + 1) {
      this.reread(request_id, growing);
      return;
    }
    growing.rereading = false;
    if (Date.now() >= growing.live_at) note(growing.seen, event);
    fold.apply(event);
    if (fold.status !== "queued") growing.queue_position = null;
    this.publishSoon(request_id);
    if (fold.ended) this.doing.ended(request_id);
  }

  /** The event up to which one has everything: the cursor to attach with. */
  cursor(request_id: string): number {
    return this.growing.get(request_id)?.fold.sequence_number ?? -1;
  }

  status(request_id: string | null): Status {
    return (request_id && this.growing.get(request_id)?.fold.status) || "unknown";
  }

  position(request_id: string, position: number | null): void {
    const growing = this.growing.get(request_id);
    if (!growing || growing.queue_position === position) return;
    growing.queue_position = growing.fold.status === "queued" ? position : null;
    this.publishSoon(request_id);
  }

  /** Show what changed now; otherwise it is shown with the next frame. */
  flush(): void {
    this.waiting = false;
    if (this.changed.size === 0) return;
    const fresh: Record<string, Transcript> = {};
    for (const request_id of this.changed) fresh[request_id] = this.shown(request_id);
    this.changed.clear();
    this.store.setState((state) => ({ transcripts: { ...state.transcripts, ...fresh } }));
  }

  private reread(request_id: string, growing: Growing): void {
    if (growing.rereading) return;
    growing.rereading = true;
    this.doing.reread(request_id, growing.fold.sequence_number);
  }

  private tell(growing: Growing, message: Message): void {
    growing.trace_id = message.trace_id ?? growing.trace_id;
    if (growing.fold.status === "queued") growing.queue_position = message.queue_position ?? null;
  }

  private publish(request_id: string): void {
    this.changed.add(request_id);
    this.flush();
  }

  private publishSoon(request_id: string): void {
    this.changed.add(request_id);
    if (this.waiting) return;
    this.waiting = true;
    this.doing.frame(() => this.flush());
  }

  private shown(request_id: string): Transcript {
    const { fold, seen, trace_id, queue_position } = this.growing.get(request_id) as Growing;
    return {
      request_id,
      status: fold.status,
      sequence_number: fold.reached,
      items: fold.answer(),
      error: fold.error,
      incomplete_reason: fold.incomplete_reason,
      usage: fold.usage,
      trace_id,
      attempt: fold.attempt,
      reason: fold.reason,
      seen: { ...seen },
      queue_position,
    };
  }
}

function isNewer(fold: Fold, number: number, status: Status): boolean {
  if (fold.ended) return false;
  return number > fold.reached || (isTerminal(status) && number >= fold.reached);
}

function note(seen: Seen, event: StreamEvent): void {
  const id = event.item?.id;
  if (!id) return;
  if (event.type === "response.output_item.added") seen[id] = { began: Date.now() };
  const mark = seen[id];
  if (event.type === "response.output_item.done" && mark) mark.ended = Date.now();
}

/** The items of an answer; of one whose request is gone, its text as an item. */
function itemsOf(message: Message): readonly Item[] {
  if (message.output && message.output.length > 0) return message.output as unknown as Item[];
  if (!message.content) return [];
  const part = { type: "output_text" as const, text: message.content };
  return [
    { type: "message", id: message.id, status: "completed", role: "assistant", content: [part] },
  ];
}
