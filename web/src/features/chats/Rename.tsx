import { type KeyboardEvent, useEffect, useRef } from "react";
import type { Chat } from "~/core/types";
import { actions } from "~/hooks";
import { isComposing } from "~/ui/composing";
import styles from "./Sidebar.module.css";

/** A chat's title as a field: Enter or leaving it keeps the new name, Escape the old one. */
export function Rename({ chat, onEnd }: { chat: Chat; onEnd: (byKeys: boolean) => void }) {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    // After the menu has closed and given the focus away.
    const frame = requestAnimationFrame(() => field.current?.select());
    return () => cancelAnimationFrame(frame);
  }, []);
  const ended = useRef(false);
  const end = (byKeys: boolean) => {
    // Its going away takes the focus from it, which is no second end.
    if (ended.current) return;
    ended.current = true;
    onEnd(byKeys);
  };
  const keep = (byKeys: boolean) => {
    const title = field.current?.value.trim() ?? "";
    if (title && title !== chat.title) void actions.rename(chat.id, title);
    end(byKeys);
  };
  const key = (event: KeyboardEvent) => {
    if (isComposing(event.nativeEvent)) return;
    if (event.key === "Enter") keep(true);
    if (event.key !== "Escape") return;
    event.stopPropagation();
    if (field.current) field.current.value = chat.title;
    end(true);
  };
  return (
    <input
      ref={field}
      aria-label="Name of the chat"
      className={styles.rename}
      defaultValue={chat.title}
      maxLength={200}
      onBlur={() => keep(false)}
      onKeyDown={key}
    />
  );
}
