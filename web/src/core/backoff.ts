/** Waiting longer after each failure, with randomness, so that clients do not return together. */

const FIRST_MS = 500;
const GROWTH = 1.6;
const LONGEST_MS = 8_000;

export function backoff(failures: number, random: () => number = Math.random): number {
  const longest = Math.min(LONGEST_MS, FIRST_MS * GROWTH ** Math.max(0, failures - 1));
  return longest * (0.5 + random() / 2);
}
