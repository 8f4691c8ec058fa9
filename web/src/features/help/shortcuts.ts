/** The page's keys, as the help sheet shows them; `app` listens for them. */

export const SHORTCUTS = [
  {
    title: "Chats",
    rows: [
      { what: "New chat", keys: "Mod Shift O" },
      { what: "Search chats", keys: "Mod K" },
      { what: "Previous chat", keys: "Alt ↑" },
      { what: "Next chat", keys: "Alt ↓" },
    ],
  },
  {
    title: "Writing",
    rows: [
      { what: "Write a message", keys: "/" },
      { what: "Send", keys: "Send" },
      { what: "Break the line", keys: "Break" },
      { what: "Stop the answer that runs, and send", keys: "Mod Enter" },
    ],
  },
  {
    title: "Answers",
    rows: [
      { what: "Stop the answer", keys: "Esc" },
      { what: "Copy the last answer", keys: "Mod Shift C" },
    ],
  },
  { title: "Help", rows: [{ what: "Show this sheet", keys: "?" }] },
] as const;

interface Board {
  apple: boolean;
  enter_sends: boolean;
}

/** Returns the keys to press, as they are printed on this keyboard. */
export function keysOf(keys: string, { apple, enter_sends }: Board): string[] {
  const chord =
    keys === "Send" ? sending(enter_sends) : keys === "Break" ? sending(!enter_sends) : keys;
  return chord.split(" ").map((key) => (apple ? (APPLE[key] ?? key) : (OTHER[key] ?? key)));
}

function sending(plain: boolean): string {
  return plain ? "Enter" : "Shift Enter";
}

const APPLE: Record<string, string> = { Mod: "⌘", Shift: "⇧", Alt: "⌥", Enter: "↩" };
const OTHER: Record<string, string> = { Mod: "Ctrl" };

export function isApple(): boolean {
  return /Mac|iPhone|iPad/.test(navigator.userAgent);
}
