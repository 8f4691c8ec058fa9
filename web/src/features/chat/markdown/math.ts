/** Finds mathematics in Markdown and writes it in the one way that the parser knows. */

const SET = /^\$\$\n([\s\S]+?)\n\$\$$|\$\$([^\n]+?)\$\$/gm;
const CODE = /(`+)(?!`)[\s\S]*?[^`]\1(?!`)|^(?: {4}|\t).*$/gm;
const DISPLAY = /\\\[([\s\S]+?)\\\]/g;
const INLINE = /\\\((.+?)\\\)/g;
const DOLLARS = /(?<![\\$\w])\$(?![\s$])((?:\\.|[^$\n\\])+?)(?<!\s)\$(?![\d$\w])/g;

/** Returns the block with its math in double dollars, or null when there is none. */
export function withMath(text: string): string | null {
  if (!/[$\\]/.test(text)) return null;
  const codes: string[] = [];
  const bare = text.replace(CODE, (code) => `\u0000${codes.push(code) - 1}\u0000`);
  const told = bare
    .replace(DISPLAY, (_, inner: string) => `$$\n${inner.trim()}\n$$`)
    .replace(INLINE, (_, inner: string) => `$$${inner.trim()}$$`)
    .replace(DOLLARS, (_, inner: string) => `$$${inner}$$`)
    .replace(/^\$\$(?!\$)(.+?)\$\$[ \t]*$/gm, (_, inner: string) => `$$\n${inner.trim()}\n$$`);
  if (!told.includes("$$")) return null;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: NUL cannot stand in a message
  return told.replace(/\u0000(\d+)\u0000/g, (_, n: string) => codes[Number(n)] ?? "");
}

/** Returns a block of `withMath` with its formulas as code: what is shown until they can be set. */
export function withSources(math: string): string {
  return math.replace(SET, (_, display?: string, inline?: string) =>
    asCode(display ?? inline ?? ""),
  );
}

/** Returns the source of a formula as a piece of code. */
export function asCode(source: string): string {
  const line = source.trim().replace(/\s*\n\s*/g, " ");
  return line === "" ? "" : line.includes("`") ? `\`\` ${line} \`\`` : `\`${line}\``;
}

const OPENED = /\$\$|\\\[|\\\(/g;
const CLOSED: Readonly<Record<string, string>> = { $$: "$$", "\\[": "\\]", "\\(": "\\)" };

/** Returns the text with a formula that is only half there as code, without its signs. */
export function withHalfFormula(text: string): string {
  const code = Array.from(text.matchAll(CODE), ({ index, 0: all }) => [index, index + all.length]);
  let from = 0;
  for (;;) {
    OPENED.lastIndex = from;
    const mark = OPENED.exec(text);
    if (!mark) return text;
    const at = mark.index;
    const within = code.find(([start = 0, end = 0]) => start <= at && at < end);
    const inside = at + mark[0].length;
    const end = within ? (within[1] ?? inside) : text.indexOf(CLOSED[mark[0]] ?? "", inside);
    if (end < 0) return text.slice(0, at) + asCode(text.slice(inside).replace(/[$\\]$/, ""));
    from = within ? end : end + 2;
  }
}
