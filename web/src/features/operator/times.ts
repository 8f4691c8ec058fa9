/** The seconds between two moments; up to now without the second one. */
export function between(from: string | null, to: string | null, now = Date.now()): number | null {
  if (from === null) return null;
  return Math.max(0, ((to === null ? now : Date.parse(to)) - Date.parse(from)) / 1000);
}

export function clock(moment: Date): string {
  return moment.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
}
