import type { Notice } from "~/core/types";
import { useNotices, useRoute } from "~/hooks";
import { focusComposer } from "~/ui/focus";
import { type Toast, Toasts } from "~/ui/Toasts";

/** Notices as toasts; one about a chat opens it. */
export function Notices({ onDismiss }: { onDismiss: (id: string) => void }) {
  const { open } = useRoute();
  const toasts = useNotices().map((notice) => toastOf(notice, open));
  const dismiss = (id: string) => {
    if (document.activeElement?.closest("[data-toast]")) focusComposer();
    onDismiss(id);
  };
  return <Toasts label="Notices" toasts={toasts} onDismiss={dismiss} />;
}

function toastOf(notice: Notice, open: (chat_id: string) => void): Toast {
  const { id, text, kind, chat_id, action } = notice;
  const failed = kind === "failed";
  return {
    id,
    text,
    icon: failed ? "alert" : kind === "finished" ? "check" : "info",
    tone: failed ? "danger" : "plain",
    onOpen: chat_id ? () => open(chat_id) : undefined,
    action,
  };
}
