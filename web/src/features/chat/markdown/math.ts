/** Finds mathematics in Markdown and writes it in the one way that the parser knows. */

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
