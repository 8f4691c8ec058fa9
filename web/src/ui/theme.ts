/** Light, dark, or what the system says. */

export type Theme = "light" | "dark" | "system";

/** Puts a theme into force; the tokens do the rest. */
export function applyTheme(theme: Theme, root: HTMLElement = document.documentElement): void {
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
}
