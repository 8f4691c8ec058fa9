/** The page's side of the colouring: one worker, started with the first block of code. */

import type { Language } from "./languages";

export type Kind =
  | "plain"
  | "keyword"
  | "string"
  | "number"
  | "function"
  | "comment"
  | "punctuation";
export type Piece = readonly [text: string, kind: Kind];
export type Line = readonly Piece[];

/** `lines` of `block`, which begin at line `from`; null = the block is gone. */
export interface ToColour {
  block: number;
  language: Language;
  from: number;
  lines: string[] | null;
}
export interface Coloured {
  block: number;
  from: number;
  lines: Line[];
}

const LINES_MAX = 3000;

let worker: Worker | null = null;
let last = 0;
const blocks = new Map<number, (told: Coloured) => void>();

function started(): Worker | null {
  if (worker || typeof Worker === "undefined") return worker;
  worker = new Worker(new URL("./colours.worker.ts", import.meta.url), { type: "module" });
  worker.addEventListener("message", ({ data }: MessageEvent<Coloured>) => {
    blocks.get(data.block)?.(data);
  });
  return worker;
}

/** A block of code that grows; `onLines` is told the colours of lines as they are known. */
export class ColouredBlock {
  readonly #id: number;
  readonly #language: Language;
  #sent: string[] = [];

  constructor(language: Language, onLines: (told: Coloured) => void) {
    last += 1;
    this.#id = last;
    this.#language = language;
    blocks.set(this.#id, onLines);
  }

  /** Takes the lines that are whole; false = they are others than before, begin a new block. */
  feed(lines: readonly string[]): boolean {
    const known = this.#sent.length;
    if (lines.length < known || lines[known - 1] !== this.#sent[known - 1]) return false;
    const fresh = lines.slice(known, LINES_MAX);
    if (fresh.length === 0) return true;
    started()?.postMessage({
      block: this.#id,
      language: this.#language,
      from: known,
      lines: fresh,
    } satisfies ToColour);
    this.#sent = lines.slice(0, LINES_MAX);
    return true;
  }

  close(): void {
    blocks.delete(this.#id);
    worker?.postMessage({
      block: this.#id,
      language: this.#language,
      from: 0,
      lines: null,
    } satisfies ToColour);
  }
}
