/** The blocks of one text that may grow, and what counts for all of them. */

import { type Definitions, definitionsOf, firstLevel } from "./definitions";
import { type Group, grouped } from "./groups";
import { Merging } from "./merging";
import { type Block, Splitter } from "./split";

export interface Parted {
  groups: readonly Group[];
  /** How many blocks there are. */
  count: number;
  definitions: Definitions;
  /** The level of the first heading; null = there is none yet. */
  level: number | null;
}

/** Parts a text, and again when it has grown: what is settled keeps its identity. */
export class Blocks {
  readonly #splitter = new Splitter();
  readonly #merging = new Merging();
  #groups: readonly Group[] = [];
  #definitions: Definitions = new Map();

  /** Parts the text into blocks, or with `whole` into one. */
  update(text: string, whole: boolean): Parted {
    const blocks: readonly Block[] = whole
      ? [{ kind: "text", text, goesOn: false }]
      : this.#merging.update(this.#splitter.update(text), this.#splitter.settled);
    this.#groups = grouped(blocks, this.#groups);
    this.#definitions = definitionsOf(blocks, this.#definitions);
    return {
      groups: this.#groups,
      count: blocks.length,
      definitions: this.#definitions,
      level: firstLevel(blocks),
    };
  }
}
