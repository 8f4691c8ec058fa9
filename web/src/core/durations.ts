/** Returns a length of time in the unit that fits: `812 ms`, `1.4 s`, `12 s`, `3 min 5 s`, `2 h`. */
export function durationOf(seconds: number): string {
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${Math.round(seconds * 10) / 10} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds) / 60;
  if (minutes < 60) return parts(Math.round(seconds), 60, "min", "s");
  if (minutes < 48 * 60) return parts(Math.round(minutes), 60, "h", "min");
  return `${Math.round(minutes / 60 / 24)} days`;
}

/** Puts a number of small units in large and small ones; no small one is left out. */
function parts(count: number, size: number, large: string, small: string): string {
  const rest = count % size;
  const whole = `${Math.floor(count / size)} ${large}`;
  return rest ? `${whole} ${rest} ${small}` : whole;
}
