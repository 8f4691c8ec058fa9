/** The blocks of one text that may grow, and what counts for all of them. */

import { type Definitions, definitionsOf, firstLevel, hasFootnotes } from "./definitions";
import { type Group, grouped } from "./groups";
import { Merging } from "./merging";
import { type Block, Splitter } from "./split";

/** More than this in one block is no prose: it is shown as it is. */
export const BLOCK_CHARACTERS_MAX = 12_000;
/** Longer texts are never parsed in one piece, which would hold up the page. */
export const WHOLE_CHARACTERS_MAX = 40_000;

export interface Parted {
  groups: readonly Group[];
  /** How many blocks there are. */
  count: number;
  definitions: Definitions;
  /** It is one block, for the sake of its footnotes. */
  whole: boolean;
  /** The level of the first heading; null = there is none yet. */
  level: number | null;
}

/** Parts a text, and again when it has grown: what is settled keeps its identity. */
export class Blocks {
  readonly #splitter = new Splitter();
  readonly #merging = new Merging();
  #groups: readonly Group[] = [];
  #definitions: Definitions = new Map();

  /** Parts the text into blocks; one with footnotes that has stopped `growing` is one block. */
  update(text: string, growing: boolean): Parted {
    const pieces = this.#splitter.update(text);
    const whole = !growing && hasFootnotes(text) && isModest(text, pieces);
    const blocks: readonly Block[] = whole
      ? [{ kind: "text", text, goesOn: false }]
      : this.#merging.update(pieces, this.#splitter.settled);
    this.#groups = grouped(blocks, this.#groups);
    this.#definitions = definitionsOf(blocks, this.#definitions);
    return {
      groups: this.#groups,
      count: blocks.length,
      whole,
      definitions: this.#definitions,
      level: firstLevel(blocks),
    };
  }
}

function isModest(text: string, pieces: readonly Block[]): boolean {
  const modest = ({ kind, text }: Block) => kind === "code" || text.length <= BLOCK_CHARACTERS_MAX;
  return text.length <= WHOLE_CHARACTERS_MAX && pieces.every(modest);
}
