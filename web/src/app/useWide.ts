import { useSyncExternalStore } from "react";

const WIDE = matchMedia("(min-width: 48rem)");

/** Whether there is room for the sidebar beside the conversation. */
export function useWide(): boolean {
  return useSyncExternalStore(
    (listener) => {
      WIDE.addEventListener("change", listener);
      return () => WIDE.removeEventListener("change", listener);
    },
    () => WIDE.matches,
  );
}
