/** Put a length in words: the two largest units would be too exact. */
export function length(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** The seconds between two moments; up to now without the second one. */
export function between(from: string | null, to: string | null, now = Date.now()): number | null {
  if (from === null) return null;
  return Math.max(0, ((to === null ? now : Date.parse(to)) - Date.parse(from)) / 1000);
}

export function clock(moment: Date): string {
  return moment.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
}
