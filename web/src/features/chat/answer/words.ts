/** What agents say to tools and hear from them, as people read it. */

/** Returns JSON text with line breaks; other text as it is. */
export function pretty(text: string): { text: string; json: boolean } {
  const start = text.trimStart()[0];
  if (start !== "{" && start !== "[") return { text, json: false };
  try {
    return { text: JSON.stringify(JSON.parse(text), null, 2), json: true };
  } catch {
    return { text, json: false };
  }
}

/** Returns the first words of arguments, for a card's one line. */
export function gist(json: string, characters_max = 80): string {
  let text = json.trim();
  try {
    const values: unknown = JSON.parse(json);
    if (values && typeof values === "object" && !Array.isArray(values)) {
      text = Object.values(values)
        .map((value) => (typeof value === "string" ? value : JSON.stringify(value)))
        .join(", ");
    }
  } catch {
    text = "";
  }
  const line = text.replace(/\s+/g, " ");
  return line.length > characters_max ? `${line.slice(0, characters_max - 1)}…` : line;
}
