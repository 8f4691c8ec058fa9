/** Where the focus goes when what had it is gone: else it falls back to the start of the page. */

/** Goes to where one writes, unless that would bring up a keyboard on the screen. */
export function focusComposer(): void {
  if (!matchMedia("(hover: hover)").matches) return;
  document.querySelector<HTMLElement>("[data-composer]")?.focus({ preventScroll: true });
}
