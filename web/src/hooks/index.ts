/** The React skin over `core`: what components may ask for. (Bodies follow; the names stand.) */

import type {
  Actions,
  Agent,
  ChatView,
  Config,
  Connection,
  Preferences,
  RequestDetails,
  Transcript,
} from "~/core/types";

/** All of a chat; null = the new, empty one. */
export declare function useChat(chatId: string | null): ChatView;
/** One answer; re-renders at most once per animation frame. Null only for an unknown id. */
export declare function useTranscript(requestId: string | null): Transcript | null;
export declare const actions: Actions;
export declare function useAgents(): {
  agents: Agent[];
  default_agent_id: string;
  loading: boolean;
};
export declare function useConfig(): Config | null;
export declare function useConnection(): Connection;
export declare function usePreferences(): Preferences;
/** The details of a request; fetched when asked for and when it ends. */
export declare function useRequestDetails(requestId: string | null): {
  details: RequestDetails | null;
  loading: boolean;
};
/** The raw events of a request, fetched on demand. */
export declare function useRawEvents(requestId: string | null): {
  events: unknown[] | null;
  problem: string | null;
};
/** One's verdict on an answer; null = none. */
export declare function useFeedback(requestId: string | null): {
  value: boolean | null;
  rationale: string | null;
};
/** The draft of a chat (null = of the new one), kept in the browser. */
export declare function useDraft(chatId: string | null): [string, (text: string) => void];
/** `/` → null, `/c/<id>` → the id; `open(null)` = a new chat. */
export declare function useRoute(): {
  chatId: string | null;
  open: (chatId: string | null) => void;
};
