/** Waiting longer after each failure, with randomness, so that clients do not return together. */

const FIRST_MS = 500;
const GROWTH = 1.6;
/** A server that is restarted is back within seconds: nobody is to wait much longer than it takes. */
const SOON_MS = 2_000;
const SOON_FAILURES = 12;
const LONGEST_MS = 8_000;

export function backoff(failures: number, random: () => number = Math.random): number {
  const limit = failures <= SOON_FAILURES ? SOON_MS : LONGEST_MS;
  const longest = Math.min(limit, FIRST_MS * GROWTH ** Math.max(0, failures - 1));
  return longest * (0.5 + random() / 2);
}
