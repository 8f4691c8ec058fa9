/** What counts for a whole text though each of its blocks is parsed alone: link definitions
 * (`[name]: address`), footnotes, and which heading is the highest. */

import type { Block } from "./split";

export type Definitions = ReadonlyMap<string, string>;

type Entries = readonly (readonly [name: string, whole: string])[];

const DEFINITION = /^ {0,3}\[([^\]^\n][^\]\n]*)\]:[ \t]*\S.*$/gm;
const NONE: Definitions = new Map();
const FOOTNOTE = /^\[\^[^\]\n]+\]:/m;
const FOOTNOTES = new RegExp(FOOTNOTE, "gm");
const HEADING = /^ {0,3}(#{1,6})(?:\s|$)|^ {0,3}\S.*\n {0,3}(=+|-+)[ \t]*$/m;

/** Returns the definitions of the blocks by name; the same object as `before` if they are the same,
 * since another one makes every block be parsed again. */
export function definitionsOf(blocks: readonly Block[], before: Definitions = NONE): Definitions {
  const found = new Map<string, string>();
  for (const block of blocks) {
    for (const [name, whole] of entriesOf(block)) found.set(name, whole);
  }
  return same(found, before) ? before : found;
}

const NOTHING: Entries = [];
const entries = new WeakMap<Block, Entries>();

/** Looks into each block once. */
function entriesOf(block: Block): Entries {
  if (block.kind !== "text") return NOTHING;
  let known = entries.get(block);
  if (!known) {
    known = block.text.includes("]:")
      ? Array.from(block.text.matchAll(DEFINITION), ([all, name = ""]) => [name.toLowerCase(), all])
      : NOTHING;
    entries.set(block, known);
  }
  return known;
}

function same(one: Definitions, other: Definitions): boolean {
  if (one.size !== other.size) return false;
  return Array.from(one).every(([name, whole]) => other.get(name) === whole);
}

/** Returns the block with those definitions behind it that it uses and does not have itself, and
 * its footnotes as text: of a part of the text the parser would drop them. */
export function withDefinitions(text: string, known: Definitions): string {
  const block = text.includes("[^") ? text.replace(FOOTNOTES, "\\$&") : text;
  if (known.size === 0 || !block.includes("[")) return block;
  const lower = block.toLowerCase();
  const used = Array.from(known).filter(
    ([name, whole]) => lower.includes(`[${name}]`) && !block.includes(whole),
  );
  return used.length > 0 ? `${block}\n\n${used.map(([, whole]) => whole).join("\n")}` : block;
}

/** Says whether a finished text has to be parsed whole, since its footnotes are numbered. */
export function hasFootnotes(text: string): boolean {
  return text.includes("[^") && FOOTNOTE.test(text);
}

/** Returns the level of the text's first heading, 1 to 6; null = there is none yet. */
export function firstLevel(blocks: readonly Block[]): number | null {
  for (const block of blocks) {
    const level = levelIn(block);
    if (level !== null) return level;
  }
  return null;
}

const levels = new WeakMap<Block, number | null>();

/** Looks into each block once. */
function levelIn(block: Block): number | null {
  const known = levels.get(block);
  if (known !== undefined) return known;
  const found = block.kind === "text" ? HEADING.exec(block.text) : null;
  const level = found ? (found[1]?.length ?? (found[2]?.startsWith("=") ? 1 : 2)) : null;
  levels.set(block, level);
  return level;
}
