/** What stays in the browser: drafts, preferences, questions that the server does not have yet. */

import type { Outgoing, Preferences } from "./types";

const DRAFT = "perdure.draft.";
const OUTGOING = "perdure.outgoing";
const PERSON = "perdure.person";
const PREFERENCES = "perdure.preferences";

const DEFAULTS: Preferences = {
  theme: "system",
  notifications: false,
  sound: false,
  enter_sends: true,
  remote_images: false,
  sidebar: true,
};

export function loadDraft(chat_id: string | null): string {
  return read(DRAFT + (chat_id ?? "new")) ?? "";
}

export function keepDraft(chat_id: string | null, text: string): void {
  write(DRAFT + (chat_id ?? "new"), text || null);
}

export function loadPreferences(): Preferences {
  return { ...DEFAULTS, ...parsed(read(PREFERENCES), {}) };
}

export function keepPreferences(preferences: Preferences): void {
  write(PREFERENCES, JSON.stringify(preferences));
}

export function loadOutgoing(): Outgoing[] {
  return parsed<Outgoing[]>(read(OUTGOING), []);
}

/** Keep what is on its way; what other tabs have on theirs stays. */
export function keepOutgoing(outgoing: readonly Outgoing[], settled?: string): void {
  const own = new Set(outgoing.map(({ key }) => key));
  const others = loadOutgoing().filter(({ key }) => !own.has(key) && key !== settled);
  const all = [...others, ...outgoing];
  write(OUTGOING, all.length > 0 ? JSON.stringify(all) : null);
}

/** Remember whose words are kept here; those of somebody else are forgotten. */
export function samePerson(user_id: string): void {
  if ((read(PERSON) ?? user_id) !== user_id) forgetWords();
  write(PERSON, user_id);
}

/** Forget what was written here and by whom; preferences stay. */
export function forgetWords(): void {
  try {
    for (const key of Object.keys(localStorage)) {
      if (key.startsWith(DRAFT) || key === OUTGOING || key === PERSON) write(key, null);
    }
  } catch {
    // see below
  }
}

function parsed<T>(text: string | null, otherwise: T): T {
  try {
    return text === null ? otherwise : (JSON.parse(text) as T);
  } catch {
    return otherwise;
  }
}

// Browsers may refuse storage (private windows, full disk): the page works without.
function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // see above
  }
}
