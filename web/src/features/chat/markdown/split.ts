/**
 * Cuts growing Markdown into blocks that can be rendered one by one.
 *
 * Settled blocks keep their identity for ever, so that only the last one is parsed again when text
 * arrives. The work per update depends on what is new, not on what is there.
 */

export type Block =
  | {
      readonly kind: "text";
      readonly text: string;
      /** It goes on with the list or the table of the block before. */
      readonly goesOn: boolean;
    }
  | {
      readonly kind: "code";
      readonly text: string;
      readonly language: string;
      readonly open: boolean;
    };

/** A list is cut at an item once its block has so many characters; `<ol start>` keeps its numbers. */
const LIST_CHARACTERS_MAX = 2000;

/** A table is cut at a row once its block has so many characters. */
const TABLE_CHARACTERS_MAX = 8000;

const COMPARED = 256;

const FENCE = /^( {0,3})(`{3,}|~{3,})(.*)$/;
const INNER_FENCE = /^\s*(?:[-*+] |\d{1,9}[.)] )?\s*(`{3,}|~{3,})/;
const HEADING = /^ {0,3}#{1,6}(\s|$)/;
const ITEM = /^ {0,3}([-*+]|\d{1,9}[.)])(\s|$)/;
const INDENTED = /^(\t| {2,})/;
const TABLE_RULE = /^ {0,3}\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;

interface State {
  /** Where the block begins in the text; -1 = between blocks. */
  start: number;
  code: { fence: string; language: string; body: number } | null;
  /** What must come before the block may end: a fence within a list, or the end of display math. */
  until: RegExp | null;
  list: string;
  indented: boolean;
  blank: boolean;
  goesOn: boolean;
  /** The first two lines of the table in it, which each of its pieces repeats; "" = none. */
  head: string;
}

const BETWEEN: State = {
  start: -1,
  code: null,
  until: null,
  list: "",
  indented: false,
  blank: false,
  goesOn: false,
  head: "",
};

/** Holds the blocks of one text that grows at its end; another text makes it begin anew. */
export class Splitter {
  #text = "";
  #settled: Block[] = [];
  #state: State = { ...BETWEEN };
  #position = 0;

  /** Returns the blocks of `text`; all but the last one or two are the same objects as before. */
  update(text: string): readonly Block[] {
    if (!continues(this.#text, text)) this.#reset();
    this.#text = text;
    for (;;) {
      const end = text.indexOf("\n", this.#position);
      if (end < 0) break;
      this.#state = line(this.#state, text, this.#position, end, this.#settled);
      this.#position = end + 1;
    }
    const blocks = this.#settled.slice();
    const last = line({ ...this.#state }, text, this.#position, text.length, blocks);
    const open = close(last, text, text.length, true);
    if (open) blocks.push(open);
    return blocks;
  }

  /** How many of the blocks are settled: nothing changes them any more. */
  get settled(): number {
    return this.#settled.length;
  }

  #reset(): void {
    this.#settled = [];
    this.#state = { ...BETWEEN };
    this.#position = 0;
  }
}

/** Compares only the ends of what was there: whole texts would be read over and over. */
function continues(earlier: string, text: string): boolean {
  const from = Math.max(0, earlier.length - COMPARED);
  return text.startsWith(earlier.slice(0, COMPARED)) && text.startsWith(earlier.slice(from), from);
}

/** Returns the blocks of a whole text. */
export function split(text: string): readonly Block[] {
  return new Splitter().update(text);
}

/** Takes in the line `text[from:to]`, adds the block that it ends, and returns the state after it. */
function line(state: State, text: string, from: number, to: number, blocks: Block[]): State {
  const words = text.slice(from, text[to - 1] === "\r" ? to - 1 : to);
  if (state.code) return codeLine(state, state.code, words, text, from, blocks);
  if (state.until) {
    if (state.until.test(words)) state.until = null;
    return state;
  }
  if (words.trim() === "") {
    state.blank = state.start >= 0;
    return state;
  }
  if (state.start >= 0 && !begins(state, words, from)) return goOn(state, words, text, from);
  finish(state, text, from, blocks);
  if (cutsTable(state, words, from)) {
    return { ...BETWEEN, start: from, goesOn: true, head: state.head };
  }
  const goesOn = state.list !== "" && sort(ITEM.exec(words)?.[1]) === state.list;
  return { ...begin(words, from, to), goesOn };
}

function codeLine(
  state: State,
  code: NonNullable<State["code"]>,
  words: string,
  text: string,
  from: number,
  blocks: Block[],
): State {
  const mark = words.trim();
  const closes = mark.length >= code.fence.length && mark === code.fence[0]?.repeat(mark.length);
  if (!closes || INDENTED.test(words.slice(2))) return state;
  const body = text.slice(Math.min(code.body, from), Math.max(code.body, from - 1));
  blocks.push({ kind: "code", text: body, language: code.language, open: false });
  return { ...BETWEEN };
}

/** Says whether the line begins a new block though another one is there. */
function begins(state: State, words: string, from: number): boolean {
  const item = ITEM.exec(words);
  const long = from - state.start > LIST_CHARACTERS_MAX;
  if (state.list && item && !RULE.test(words)) {
    const same = sort(item[1]) === state.list;
    return same ? long && !words.startsWith(" ") : state.blank;
  }
  if (state.list && INDENTED.test(words)) return false;
  if (FENCE.test(words) || HEADING.test(words)) return true;
  if (state.indented && INDENTED.test(words)) return false;
  return state.blank || cutsTable(state, words, from);
}

/** Lets the line go on with the block that is there. */
function goOn(state: State, words: string, text: string, from: number): State {
  if (!state.head && !state.list) state.head = headOf(words, text, from);
  const item = ITEM.exec(words);
  if (item && !state.list) state.list = sort(item[1]);
  state.blank = false;
  state.until = waits(state, words);
  return state;
}

function begin(words: string, from: number, to: number): State {
  const fence = FENCE.exec(words);
  const info = fence?.[3]?.trim() ?? "";
  if (fence?.[2] && !(fence[2].startsWith("`") && info.includes("`"))) {
    const language = info.split(/[\s{]/, 1)[0] ?? "";
    return { ...BETWEEN, start: from, code: { fence: fence[2], language, body: to + 1 } };
  }
  const state: State = { ...BETWEEN, start: from, list: sort(ITEM.exec(words)?.[1]) };
  state.indented = words.startsWith("    ");
  state.until = waits(state, words);
  return state;
}

/** Returns the line that has to come before blank lines mean anything again, if there is one. */
function waits(state: State, words: string): RegExp | null {
  const fence = state.list && INNER_FENCE.exec(words)?.[1];
  if (fence) return new RegExp(`^\\s*${fence[0] ?? ""}{${fence.length},}\\s*$`);
  const math = words.trim();
  if (math.startsWith("$$") && !math.slice(2).includes("$$")) return /\$\$\s*$/;
  if (math.startsWith("\\[") && !math.includes("\\]")) return /\\\]\s*$/;
  return null;
}

/** Says whether the line is a row at which a long table is cut. */
function cutsTable({ head, start, blank }: State, words: string, from: number): boolean {
  if (!head || blank || from - start <= TABLE_CHARACTERS_MAX) return false;
  return words.includes("|") && !FENCE.test(words) && !HEADING.test(words);
}

/** Returns the head of the table that this line makes with the one before it; "" = it makes none. */
function headOf(words: string, text: string, from: number): string {
  if (!TABLE_RULE.test(words)) return "";
  const line = text.slice(text.lastIndexOf("\n", from - 2) + 1, from).trimEnd();
  return line.includes("|") && cells(line) === cells(words) ? `${line}\n${words}` : "";
}

function cells(row: string): number {
  return row
    .trim()
    .replace(/^\||\|$/g, "")
    .split(/(?<!\\)\|/).length;
}

function sort(marker: string | undefined): string {
  return marker === undefined ? "" : /\d/.test(marker) ? "1" : marker;
}

function finish(state: State, text: string, to: number, blocks: Block[]): void {
  const block = close(state, text, to, false);
  if (block) blocks.push(block);
}

function close(state: State, text: string, to: number, open: boolean): Block | null {
  if (state.start < 0) return null;
  if (state.code) {
    const { language, body } = state.code;
    return body > to
      ? { kind: "code", text: "", language: "", open }
      : { kind: "code", text: text.slice(body, to), language, open };
  }
  const { head, goesOn } = state;
  const repeated = goesOn && head ? `${head}\n` : "";
  return { kind: "text", text: repeated + text.slice(state.start, to).trimEnd(), goesOn };
}
