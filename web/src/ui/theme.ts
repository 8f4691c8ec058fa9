/** Light, dark, or what the system says. */

import { useSyncExternalStore } from "react";

export type Theme = "light" | "dark" | "system";

/** Puts a theme into force; the tokens do the rest. */
export function applyTheme(theme: Theme, root: HTMLElement = document.documentElement): void {
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
}

const system = () => matchMedia("(prefers-color-scheme: dark)");

function onSystem(tell: () => void): () => void {
  const query = system();
  query.addEventListener("change", tell);
  return () => query.removeEventListener("change", tell);
}

/** Whether a theme is dark now. */
export function useDark(theme: Theme): boolean {
  const dark = useSyncExternalStore(onSystem, () => system().matches);
  return theme === "system" ? dark : theme === "dark";
}
