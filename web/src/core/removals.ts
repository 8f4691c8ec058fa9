/** Deleting chats with a moment to take it back: off the page at once, off the server later. */

import { problemText } from "./api";
import type { Client } from "./client";
import type { Actions } from "./types";

export const UNDO_MS = 7_000;

export class Removals {
  private readonly timers = new Map<string, ReturnType<typeof setTimeout>>();

  constructor(
    private readonly client: Client,
    private readonly notify: Actions["notify"],
    private readonly open: (chat_id: string | null) => void,
  ) {
    // A page that goes away cannot be asked to undo any more.
    globalThis.addEventListener?.("pagehide", () => this.hurry());
  }

  remove(chat_id: string): void {
    const { chats, route } = this.client.store.getState();
    const title = chats[chat_id]?.title ?? "The chat";
    this.hide(chat_id, true);
    if (route === chat_id) this.open(null);
    const timer = setTimeout(() => void this.really(chat_id), UNDO_MS);
    this.timers.set(chat_id, timer);
    const undo = { label: "Undo", run: () => this.undo(chat_id) };
    this.notify({ kind: "info", text: `Deleted “${title}”`, action: undo });
  }

  private undo(chat_id: string): void {
    const timer = this.timers.get(chat_id);
    if (timer === undefined) return;
    clearTimeout(timer);
    this.timers.delete(chat_id);
    this.hide(chat_id, false);
  }

  private async really(chat_id: string): Promise<void> {
    this.timers.delete(chat_id);
    try {
      await this.client.api.remove(chat_id);
      this.client.forget(chat_id);
    } catch (error) {
      this.notify({ kind: "failed", text: problemText(error) });
    }
    this.hide(chat_id, false);
  }

  private hurry(): void {
    for (const [chat_id, timer] of this.timers) {
      clearTimeout(timer);
      void this.client.api.removeLeaving(chat_id);
    }
    this.timers.clear();
  }

  private hide(chat_id: string, hidden: boolean): void {
    this.client.store.setState((state) => {
      const { [chat_id]: _, ...others } = state.hidden;
      return { hidden: hidden ? { ...others, [chat_id]: true as const } : others };
    });
  }
}
