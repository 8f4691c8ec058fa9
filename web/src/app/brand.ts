/** The operator's colour, which the server puts into the page; all shades derive from it. */
export function brand(): void {
  const accent = document.querySelector<HTMLMetaElement>('meta[name="accent"]')?.content;
  if (accent) document.documentElement.style.setProperty("--brand-accent", accent);
}
