/** The page's icons: strokes on a grid of 20, in the colour of the text around them. */

import type { ReactNode } from "react";

const PATHS = {
  alert:
    "M10 6.5v4M10 13.5v.01M8.9 3.2 2.6 14.3a1.3 1.3 0 0 0 1.1 2h12.6a1.3 1.3 0 0 0 1.1-2L11.1 3.2a1.3 1.3 0 0 0-2.2 0Z",
  archive: "M3 4h14v3.5H3zM4.5 7.5V15a1 1 0 0 0 1 1h9a1 1 0 0 0 1-1V7.5M8 11h4",
  arrowDown: "M10 4v12M5 11l5 5 5-5",
  arrowUp: "M10 16V4M5 9l5-5 5 5",
  bell: "M5.5 13.5V9a4.5 4.5 0 0 1 9 0v4.5l1.5 1.5H4zM8.5 17.5h3",
  branch: "M6 4.5v6.5a3 3 0 0 0 3 3h5M11 11l3 3-3 3M6 4.5h.01",
  check: "m4 10.5 4 4 8-9",
  chevronDown: "m5 7.5 5 5 5-5",
  chevronLeft: "m12.5 5-5 5 5 5",
  chevronRight: "m7.5 5 5 5-5 5",
  clock: "M10 5.5V10l3 2M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14Z",
  close: "m5 5 10 10M15 5 5 15",
  copy: "M7 7V4.2A1.2 1.2 0 0 1 8.2 3h7.6A1.2 1.2 0 0 1 17 4.2v7.6A1.2 1.2 0 0 1 15.8 13H13M4.2 7h7.6A1.2 1.2 0 0 1 13 8.2v7.6A1.2 1.2 0 0 1 11.8 17H4.2A1.2 1.2 0 0 1 3 15.8V8.2A1.2 1.2 0 0 1 4.2 7Z",
  download: "M10 3v9M6 8.5 10 12.5l4-4M3.5 16.5h13",
  external: "M11 4h5v5M16 4l-7 7M13.5 11.5V15a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V7.5a1 1 0 0 1 1-1h3.5",
  forward: "M4 10h12M11 5l5 5-5 5",
  gauge: "M4 15a7 7 0 1 1 12 0M10 12l3-4.5M10 12v.01",
  gear: "M10 12.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5ZM10 2.5v2M10 15.5v2M17.5 10h-2M4.5 10h-2M15.3 4.7l-1.4 1.4M6.1 13.9l-1.4 1.4M15.3 15.3l-1.4-1.4M6.1 6.1 4.7 4.7",
  help: "M7.8 7.6a2.3 2.3 0 1 1 3.2 2.1c-.7.3-1 .8-1 1.5v.3M10 14v.01M10 17.5a7.5 7.5 0 1 0 0-15 7.5 7.5 0 0 0 0 15Z",
  image: "M3.5 4.5h13v11h-13zM3.5 13l3.5-3.5 3 3 2.5-2 4 3M12.5 8h.01",
  info: "M10 9.5v4M10 6.5v.01M10 17.5a7.5 7.5 0 1 0 0-15 7.5 7.5 0 0 0 0 15Z",
  key: "M12.5 11.5a4 4 0 1 0-3.6-2.3L3 15.1V17h2.5v-2H7.5v-2l1.7-1.5c.9.6 2 .9 3.3 0ZM13 7.5v.01",
  leave: "M8.5 4H4.5v12h4M8 10h8.5M13 6.5l3.5 3.5-3.5 3.5",
  menu: "M3 6h14M3 10h14M3 14h14",
  more: "M5 10h.01M10 10h.01M15 10h.01",
  pencil: "M12.5 4.5l3 3L7 16H4v-3zM11 6l3 3",
  pin: "M7 3h6l-.8 5 2.3 2.5V12h-9v-1.5L7.8 8zM10 12v5",
  plus: "M10 4v12M4 10h12",
  retry: "M16 10a6 6 0 1 1-1.8-4.3L16 7.5M16 3.5v4h-4",
  search: "M9 14.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11ZM13 13l4 4",
  sidebar: "M3 4.5h14v11H3zM7.5 4.5v11",
  thought:
    "M10 3.5v2M10 14.5v2M3.5 10h2M14.5 10h2M5.4 5.4l1.4 1.4M13.2 13.2l1.4 1.4M5.4 14.6l1.4-1.4M13.2 6.8l1.4-1.4",
  thumbDown:
    "M6.5 3.5v8M6.5 11.5l3 5c1.2 0 2-.8 2-2V12h3.8a1.2 1.2 0 0 0 1.2-1.4l-.9-6A1.2 1.2 0 0 0 14.4 3.5H6.5H3.5v8h3",
  thumbUp:
    "M6.5 16.5v-8M6.5 8.5l3-5c1.2 0 2 .8 2 2V8h3.8a1.2 1.2 0 0 1 1.2 1.4l-.9 6a1.2 1.2 0 0 1-1.2 1.1H6.5H3.5v-8h3",
  tool: "M12.5 3.5a4 4 0 0 0-4.3 5.3L3.5 13.5l3 3 4.7-4.7a4 4 0 0 0 5.3-4.3l-2.5 2-2.5-.5-.5-2.5z",
  trash: "M3.5 5.5h13M8 5V3.5h4V5M5 5.5l.8 11h8.4l.8-11M8.5 9v4.5M11.5 9v4.5",
} as const;

export type IconName = keyof typeof PATHS;

/** Draws an icon; it says nothing to screen readers, so its button needs a name. */
export function Icon({ name, size = 18 }: { name: IconName; size?: number }): ReactNode {
  return (
    <svg
      aria-hidden="true"
      width={size}
      height={size}
      viewBox="0 0 20 20"
      fill="none"
      stroke="currentColor"
      strokeWidth={name === "more" ? 2.4 : 1.5}
      strokeLinecap="round"
      strokeLinejoin="round"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}

/** Draws a filled square: the sign for stopping. */
export function StopSign({ size = 18 }: { size?: number }): ReactNode {
  return (
    <svg aria-hidden="true" width={size} height={size} viewBox="0 0 20 20" fill="currentColor">
      <rect x="5" y="5" width="10" height="10" rx="2" />
    </svg>
  );
}
