/** What the keys and the one button of the composer mean, given how things stand. */

/** What the slot beside the text holds. */
export type Slot = "send" | "queue" | "stop";

/** Returns what the slot does: stopping gives way as soon as there is text, which then queues. */
export function slotOf(text: string, busy: boolean): Slot {
  const empty = text.trim() === "";
  if (busy) return empty ? "stop" : "queue";
  return "send";
}

export interface Stroke {
  key: string;
  shiftKey: boolean;
  altKey: boolean;
  ctrlKey: boolean;
  metaKey: boolean;
  /** An input method is composing: Enter belongs to it. */
  composing: boolean;
}

/** Returns what a key does: `now` sends without waiting for the answer that runs. */
export function meaningOf(stroke: Stroke, enterSends: boolean): "send" | "now" | null {
  if (stroke.key !== "Enter" || stroke.composing || stroke.altKey) return null;
  if (stroke.ctrlKey || stroke.metaKey) return enterSends ? "now" : "send";
  return enterSends !== stroke.shiftKey ? "send" : null;
}

const encoder = new TextEncoder();

/** Returns by how many bytes a text is longer than the server takes; 0 = it fits. */
export function excess(text: string, bytes_max: number): number {
  if (text.length * 3 <= bytes_max) return 0;
  return Math.max(0, encoder.encode(text).length - bytes_max);
}
