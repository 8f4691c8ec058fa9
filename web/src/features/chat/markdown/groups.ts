/** Puts blocks into groups, which rest out of sight: the browser skips them, and so does React. */

import type { Block } from "./split";

const BLOCKS = 8;

export interface Group {
  /** The place of its first block. */
  readonly start: number;
  readonly blocks: readonly Block[];
}

/** Returns the groups of `blocks`; those in which nothing changed are the same objects as `before`.
 *
 * A list that goes on over several blocks is never parted: its blocks stand closer together. */
export function grouped(blocks: readonly Block[], before: readonly Group[]): Group[] {
  const groups: Group[] = [];
  for (let start = 0; start < blocks.length; ) {
    const end = endOf(blocks, start);
    const known = before[groups.length];
    groups.push(
      known && known.start === start && holds(known, blocks, end)
        ? known
        : { start, blocks: blocks.slice(start, end) },
    );
    start = end;
  }
  return groups;
}

function endOf(blocks: readonly Block[], start: number): number {
  let end = Math.min(blocks.length, start + BLOCKS);
  while (end < blocks.length && goesOn(blocks[end])) end += 1;
  return end;
}

function goesOn(block: Block | undefined): boolean {
  return block?.kind === "text" && block.goesOn;
}

function holds({ start, blocks }: Group, all: readonly Block[], end: number): boolean {
  return blocks.length === end - start && blocks.every((block, n) => block === all[start + n]);
}
