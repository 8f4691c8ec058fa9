/** The React skin over `core`: what components may ask for. */

export { download, useConnection, useDraft, useNotices, usePreferences } from "./browser";
export { useChat, useTranscript } from "./chat";
export { useChatList, useChatSearch } from "./chats";
export { actions, store } from "./connected";
export { useNow } from "./now";
export { operate, useOperating, useRoute } from "./route";
export {
  useAgents,
  useConfig,
  useFeedback,
  useMe,
  useRawEvents,
  useRequestDetails,
  useTrace,
} from "./server";
