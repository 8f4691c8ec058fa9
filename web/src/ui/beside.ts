/** Where a box of the top layer goes: beside what it belongs to, and within the window. */

const GAP_PX = 6;
const EDGE_PX = 8;

export interface Beside {
  side: "top" | "bottom";
  align: "start" | "center" | "end";
}

const BELOW: Beside = { side: "bottom", align: "center" };

/** Shows a popover below an element or above it: on the wanted side if there is room. */
export function showBeside(box: HTMLElement, of: Element, { side, align } = BELOW): void {
  if (!box.matches(":popover-open")) box.showPopover();
  const at = of.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = box;
  const [above, below] = [at.top - GAP_PX - height, at.bottom + GAP_PX];
  const lowest = innerHeight - EDGE_PX - height;
  const top = side === "top" ? (above < EDGE_PX ? below : above) : below > lowest ? above : below;
  const left =
    align === "start"
      ? at.left
      : align === "end"
        ? at.right - width
        : at.left + (at.width - width) / 2;
  box.style.top = `${within(top, lowest)}px`;
  box.style.left = `${within(left, innerWidth - EDGE_PX - width)}px`;
}

function within(place: number, most: number): number {
  return Math.max(EDGE_PX, Math.min(place, most));
}
