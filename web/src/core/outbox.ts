/** Questions on their way: kept in the browser until the server has them, tried again by
 * themselves while it cannot be reached, always under the same idempotency key. */

import type { Api } from "./api";
import { CallError, problemText } from "./api";
import type { AcceptedRequest } from "./api.gen";
import { backoff } from "./backoff";
import { keepOutgoing, loadOutgoing } from "./keep";
import type { Store } from "./state";
import type { Outgoing } from "./types";

export type NewQuestion = Pick<Outgoing, "chat_id" | "agent_id" | "content" | "if_busy"> &
  Partial<Pick<Outgoing, "parent_id" | "from_root">>;

export class Outbox {
  private readonly tries = new Map<string, number>();
  private readonly timers = new Map<string, ReturnType<typeof setTimeout>>();

  constructor(
    private readonly store: Store,
    private readonly api: Api,
    private readonly accepted: (outgoing: Outgoing, accepted: AcceptedRequest) => void,
  ) {}

  /** Take up what an earlier page could not deliver. */
  restore(): void {
    const kept = loadOutgoing();
    this.store.setState({ outgoing: kept });
    for (const { key, state } of kept) if (state !== "failed") void this.deliver(key);
  }

  send(question: NewQuestion): void {
    const outgoing: Outgoing = {
      parent_id: null,
      from_root: false,
      ...question,
      key: crypto.randomUUID(),
      state: "sending",
      problem: null,
      created_at: Date.now(),
    };
    this.store.setState((state) => ({ outgoing: [...state.outgoing, outgoing] }));
    keepOutgoing(this.store.getState().outgoing);
    void this.deliver(outgoing.key);
  }

  resend(key: string): void {
    this.change(key, { state: "sending", problem: null });
    void this.deliver(key);
  }

  takeBack(key: string): string {
    const content = this.find(key)?.content ?? "";
    this.drop(key);
    return content;
  }

  /** The network is back: do not wait any longer. */
  wake(): void {
    for (const key of this.timers.keys()) void this.deliver(key);
  }

  private async deliver(key: string): Promise<void> {
    clearTimeout(this.timers.get(key));
    this.timers.delete(key);
    const outgoing = this.find(key);
    if (!outgoing) return;
    try {
      const accepted = await this.api.ask(outgoing, key);
      this.accepted(outgoing, accepted);
      this.drop(key);
    } catch (error) {
      this.failed(key, error);
    }
  }

  private failed(key: string, error: unknown): void {
    const tries = (this.tries.get(key) ?? 0) + 1;
    this.tries.set(key, tries);
    if (!(error instanceof CallError && error.passing)) {
      this.change(key, { state: "failed", problem: problemText(error) });
      return;
    }
    this.change(key, { state: "waiting", problem: error.message });
    const pause = error.retry_after_ms ?? backoff(tries);
    this.timers.set(
      key,
      setTimeout(() => void this.deliver(key), pause),
    );
  }

  private find(key: string): Outgoing | undefined {
    return this.store.getState().outgoing.find((one) => one.key === key);
  }

  private change(key: string, changes: Partial<Outgoing>): void {
    this.store.setState((state) => ({
      outgoing: state.outgoing.map((one) => (one.key === key ? { ...one, ...changes } : one)),
    }));
    keepOutgoing(this.store.getState().outgoing);
  }

  private drop(key: string): void {
    clearTimeout(this.timers.get(key));
    this.timers.delete(key);
    this.tries.delete(key);
    this.store.setState((state) => ({
      outgoing: state.outgoing.filter((one) => one.key !== key),
    }));
    keepOutgoing(this.store.getState().outgoing, key);
  }
}
