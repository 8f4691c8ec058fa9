/** The languages that are coloured, and what else they are called. */

export type Language =
  | "css"
  | "diff"
  | "go"
  | "html"
  | "json"
  | "python"
  | "rust"
  | "shellscript"
  | "sql"
  | "tsx"
  | "typescript"
  | "yaml";

const NAMES: Record<Language, string> = {
  css: "css scss less",
  diff: "diff patch",
  go: "go golang",
  html: "html xml svg vue",
  json: "json jsonc json5 jsonl",
  python: "python py python3 pycon ipython",
  rust: "rust rs",
  shellscript: "shellscript sh bash zsh shell console shell-session",
  sql: "sql postgresql postgres mysql sqlite",
  tsx: "tsx jsx",
  typescript: "typescript ts javascript js mjs cjs node",
  yaml: "yaml yml toml",
};

const BY_NAME = new Map<string, Language>(
  Object.entries(NAMES).flatMap(([language, names]) =>
    names.split(" ").map((name) => [name, language as Language] as const),
  ),
);

/** Returns the language that a fence's word means; null = shown plainly. */
export function languageOf(name: string): Language | null {
  return BY_NAME.get(name.toLowerCase()) ?? null;
}
