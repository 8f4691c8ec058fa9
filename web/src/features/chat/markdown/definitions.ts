/** Link definitions (`[name]: address`) count for a whole text though each block is parsed alone. */

const DEFINITION = /^ {0,3}\[([^\]^\n][^\]\n]*)\]:[ \t]*\S.*$/gm;
const NONE: ReadonlyMap<string, string> = new Map();
const FOOTNOTE = /^\[\^[^\]\n]+\]:/m;
const FOOTNOTES_CHARACTERS_MAX = 40_000;

/** Returns the text's definitions by name. */
export function definitionsOf(text: string): ReadonlyMap<string, string> {
  if (!text.includes("]:")) return NONE;
  return new Map(
    Array.from(text.matchAll(DEFINITION), ([whole, name = ""]) => [name.toLowerCase(), whole]),
  );
}

/** Returns the block with those definitions behind it that it uses and does not have itself. */
export function withDefinitions(block: string, known: ReadonlyMap<string, string>): string {
  if (known.size === 0 || !block.includes("[")) return block;
  const lower = block.toLowerCase();
  const used = Array.from(known).filter(
    ([name, whole]) => lower.includes(`[${name}]`) && !block.includes(whole),
  );
  return used.length > 0 ? `${block}\n\n${used.map(([, whole]) => whole).join("\n")}` : block;
}

/** Says whether a finished text has to be parsed whole, since its footnotes are numbered. */
export function hasFootnotes(text: string): boolean {
  return text.length < FOOTNOTES_CHARACTERS_MAX && text.includes("[^") && FOOTNOTE.test(text);
}
