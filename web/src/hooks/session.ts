/** Whether one is signed in, for components. */

import { useStore } from "zustand";
import type { SessionState } from "~/core/session";
import { session } from "./connected";

export { session };

export function useSession(): SessionState {
  return useStore(session.state);
}
