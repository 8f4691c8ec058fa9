/** Waiting longer after each failure, with randomness, so that clients do not return together. */

const FIRST_MS = 500;
const LONGEST_MS = 15_000;

export function backoff(failures: number, random: () => number = Math.random): number {
  const longest = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.max(0, failures - 1));
  return longest * (0.5 + random() / 2);
}
