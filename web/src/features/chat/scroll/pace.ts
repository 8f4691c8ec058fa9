/** How many pieces are shown in one step, by what the steps before have cost. */

/** What one step may take of a frame's 16 ms; layout and paint come on top. */
const BUDGET_MS = 6;
const PIECES_MAX = 256;

export class Pace {
  #pieces: number;

  constructor(first: number) {
    this.#pieces = first;
  }

  /** The size of the next step. */
  get pieces(): number {
    return this.#pieces;
  }

  /** Takes in that a step of `pieces` took `ms`: the next one is at most twice as large. */
  measured(pieces: number, ms: number): void {
    if (pieces <= 0) return;
    const affordable = Math.round((pieces * BUDGET_MS) / Math.max(ms, 0.1));
    this.#pieces = Math.max(1, Math.min(affordable, this.#pieces * 2, PIECES_MAX));
  }
}
