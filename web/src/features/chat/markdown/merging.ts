/** Joins small blocks that came together: parsing costs something per block, however short it is. */

import type { Block } from "./split";

const CHARACTERS = 600;

/** Holds the settled blocks of one text that grows; what is joined stays as it is. */
export class Merging {
  #joined: Block[] = [];
  #taken = 0;
  #seen = 0;
  #last: Block | undefined;

  /** Returns `blocks` with their first `settled` ones joined; the others are shown one by one. */
  update(blocks: readonly Block[], settled: number): readonly Block[] {
    if (this.#taken > settled || blocks[this.#taken - 1] !== this.#last) this.#reset();
    // What was shown by itself stays so: joined, it would move to another element.
    const shown = Math.min(settled, Math.max(this.#taken, this.#seen));
    for (const block of blocks.slice(this.#taken, shown)) this.#joined.push(block);
    for (const block of joined(blocks.slice(shown, settled))) this.#joined.push(block);
    this.#taken = settled;
    this.#seen = blocks.length;
    this.#last = blocks[settled - 1];
    return [...this.#joined, ...blocks.slice(settled)];
  }

  #reset(): void {
    this.#joined = [];
    this.#taken = 0;
    this.#seen = 0;
    this.#last = undefined;
  }
}

/** Returns the blocks with neighbours joined, as long as they are short and of text. */
export function joined(blocks: readonly Block[]): Block[] {
  const result: Block[] = [];
  for (const block of blocks) {
    const before = result.at(-1);
    if (before && joins(before, block)) {
      const text = `${before.text}\n\n${block.text}`;
      result[result.length - 1] = { kind: "text", text, goesOn: false };
    } else {
      result.push(block);
    }
  }
  return result;
}

function joins(before: Block, block: Block): boolean {
  const prose = before.kind === "text" && block.kind === "text" && !before.goesOn && !block.goesOn;
  return prose && before.text.length + block.text.length <= CHARACTERS;
}
