import { useEffect, useRef } from "react";
import { inOrder } from "~/core/chats";
import { textOf } from "~/core/fold";
import { activeIn, branchOf } from "~/core/trees";
import { actions, store } from "~/hooks";
import { client } from "~/hooks/connected";
import { open } from "~/hooks/route";
import { isComposing } from "~/ui/composing";

interface Places {
  search: () => void;
  help: () => void;
}

/** Listens for the page's keys; `features/help` shows them. */
export function useShortcuts(places: Places): void {
  const latest = useRef(places);
  latest.current = places;
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      const act = event.defaultPrevented || isComposing(event) ? undefined : keyed(event);
      if (!act) return;
      event.preventDefault();
      act(latest.current);
    };
    addEventListener("keydown", listen);
    return () => removeEventListener("keydown", listen);
  }, []);
}

type Act = (places: Places) => void;

/** Ctrl or ⌘ with Shift or Alt, which browsers leave free; bare keys only outside of fields. */
const CHORDS: Readonly<Record<string, Act>> = {
  "mod+shift+o": () => open(null),
  "mod+k": ({ search }) => search(),
  "mod+shift+c": copyLast,
  "alt+arrowup": () => step(-1),
  "alt+arrowdown": () => step(1),
  "mod+/": ({ help }) => help(),
};
const BARE: Readonly<Record<string, Act>> = {
  "/": () => focusComposer(),
  "?": ({ help }) => help(),
};

function keyed(event: KeyboardEvent): Act | undefined {
  if (event.key === "Escape") return inDialog() ? undefined : stopper();
  const mod = event.metaKey || event.ctrlKey;
  if (!mod && !event.altKey) return isField(event.target) ? undefined : BARE[event.key];
  const name = [
    mod && "mod",
    event.altKey && "alt",
    event.shiftKey && "shift",
    event.key.toLowerCase(),
  ];
  return CHORDS[name.filter(Boolean).join("+")];
}

function isField(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement && target.matches("input, textarea, select, [contenteditable]")
  );
}

function inDialog(): boolean {
  return document.querySelector("dialog[open], [role=dialog], [role=menu]") !== null;
}

function stopper(): Act | undefined {
  const { route, trees } = store.getState();
  const tree = route ? trees[route] : undefined;
  const running = tree && activeIn(tree, client.statusOf);
  return running ? () => void actions.stop(running) : undefined;
}

function focusComposer(): void {
  document.querySelector<HTMLTextAreaElement>("[data-composer]")?.focus();
}

/** Open the chat above or below in the sidebar. */
function step(by: number): void {
  const { chats, hidden, route } = store.getState();
  const shown = inOrder(Object.values(chats).filter((one) => !one.archived && !hidden[one.id]));
  const rows = [...shown.filter((one) => one.pinned), ...shown.filter((one) => !one.pinned)];
  const at = rows.findIndex((one) => one.id === route);
  const next = rows[at < 0 ? 0 : at + by];
  if (next) open(next.id);
}

function copyLast(): void {
  const { route, trees, transcripts } = store.getState();
  const tree = route ? trees[route] : undefined;
  const last = tree && branchOf(tree).findLast((node) => node.role === "assistant");
  const transcript = last?.request_id ? transcripts[last.request_id] : undefined;
  const text = transcript ? textOf(transcript.items) : (last?.content ?? "");
  if (!text) return;
  navigator.clipboard.writeText(text).then(
    () => actions.notify({ kind: "info", text: "The last answer was copied" }),
    () => actions.notify({ kind: "failed", text: "The browser did not allow copying" }),
  );
}
