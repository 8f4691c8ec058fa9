/** Completes what is half written at the end of a text, so that nothing flips its look meanwhile. */

import remend from "remend";
import { withHalfFormula } from "./math";

const HALF_BREAK = /<(?:br? ?\/?)?$/i;
const MARKER = /(^|\n) {0,3}(?:[-=]+|[*_]{1,2}|\+|#{1,6}|\d{1,9}[.)]?|>) *$/;
const ROW = /^ {0,3}\|/;
const RULED = /^ {0,3}\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const HALF_RULED = /^[\s|:-]*$/;

/** Returns the Markdown of a block that may still grow as it will most likely end. */
export function repair(text: string): string {
  const table = tableStart(text);
  if (table !== null) return table;
  return remend(withHalfFormula(text.replace(MARKER, "$1").replace(HALF_BREAK, "")), {
    linkMode: "text-only",
    katex: false,
  });
}

/** Returns a table's head with a whole second row when that is missing or half there, else null. */
function tableStart(text: string): string | null {
  const lines = text.split("\n");
  const start = lines.findIndex((line) => ROW.test(line));
  const head = lines[start];
  const rule = lines[start + 1];
  if (start < 0 || head === undefined || lines.length > start + 2) return null;
  const cells = head
    .trim()
    .replace(/^\||\|$/g, "")
    .split(/(?<!\\)\|/).length;
  if (rule !== undefined && !HALF_RULED.test(rule)) return null;
  if (rule !== undefined && RULED.test(rule) && count(rule) === cells) return null;
  return [...lines.slice(0, start), head, `|${" - |".repeat(cells)}`].join("\n");
}

function count(rule: string): number {
  return rule
    .trim()
    .replace(/^\||\|$/g, "")
    .split("|").length;
}
