/**
 * Colours code away from the page's thread, so that no grammar ever makes the page stutter.
 *
 * A block is coloured line by line as it arrives: the grammar's state after the last line is kept.
 */

import { createCssVariablesTheme, createHighlighterCore, type GrammarState } from "shiki/core";
import { createJavaScriptRegexEngine } from "shiki/engine/javascript";
import type { Coloured, Kind, Piece, ToColour } from "./colours";
import type { Language } from "./languages";

const LINES_AT_ONCE = 120;

const GRAMMARS: Record<Language, () => Promise<{ default: unknown }>> = {
  css: () => import("shiki/langs/css.mjs"),
  diff: () => import("shiki/langs/diff.mjs"),
  go: () => import("shiki/langs/go.mjs"),
  html: () => import("shiki/langs/html.mjs"),
  json: () => import("shiki/langs/json.mjs"),
  python: () => import("shiki/langs/python.mjs"),
  rust: () => import("shiki/langs/rust.mjs"),
  shellscript: () => import("shiki/langs/shellscript.mjs"),
  sql: () => import("shiki/langs/sql.mjs"),
  tsx: () => import("shiki/langs/tsx.mjs"),
  typescript: () => import("shiki/langs/typescript.mjs"),
  yaml: () => import("shiki/langs/yaml.mjs"),
};

const KINDS: Record<string, Kind> = {
  constant: "number",
  string: "string",
  comment: "comment",
  keyword: "keyword",
  parameter: "plain",
  function: "function",
  "string-expression": "string",
  punctuation: "punctuation",
  link: "string",
};

const highlighter = createHighlighterCore({
  engine: createJavaScriptRegexEngine({ forgiving: true }),
  themes: [createCssVariablesTheme({ name: "variables", variablePrefix: "--x-" })],
  langs: [],
});
const states = new Map<number, GrammarState>();
let turn: Promise<unknown> = Promise.resolve();

addEventListener("message", ({ data }: MessageEvent<ToColour>) => {
  turn = turn.then(() => take(data)).catch(() => undefined);
});

async function take(order: ToColour): Promise<void> {
  if (order.lines === null) {
    states.delete(order.block);
    return;
  }
  const core = await highlighter;
  await core.loadLanguage(GRAMMARS[order.language] as Parameters<typeof core.loadLanguage>[0]);
  for (let from = 0; from < order.lines.length; from += LINES_AT_ONCE) {
    const code = order.lines.slice(from, from + LINES_AT_ONCE).join("\n");
    const state = states.get(order.block);
    const told = core.codeToTokens(code, {
      lang: order.language,
      theme: "variables",
      tokenizeTimeLimit: 0, // a grammar's first line is slow, and half a line would colour the rest
      ...(state && { grammarState: state }),
    });
    if (told.grammarState) states.set(order.block, told.grammarState);
    const lines = told.tokens.map((line) =>
      line.map(({ content, color }) => piece(content, color)),
    );
    postMessage({ block: order.block, from: order.from + from, lines } satisfies Coloured);
  }
}

function piece(text: string, color: string | undefined): Piece {
  const name = /--x-token-([a-z-]+)/.exec(color ?? "")?.[1] ?? "";
  return [text, KINDS[name] ?? "plain"];
}
