import { type KeyboardEvent, useEffect, useRef } from "react";
import type { Chat } from "~/core/types";
import { actions } from "~/hooks";
import { isComposing } from "~/ui/composing";
import styles from "./Sidebar.module.css";

/** A chat's title as a field: Enter or leaving it keeps the new name, Escape the old one. */
export function Rename({ chat, onEnd }: { chat: Chat; onEnd: () => void }) {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    // After the menu has closed and given the focus away.
    const frame = requestAnimationFrame(() => field.current?.select());
    return () => cancelAnimationFrame(frame);
  }, []);
  const keep = () => {
    const title = field.current?.value.trim() ?? "";
    if (title && title !== chat.title) void actions.rename(chat.id, title);
    onEnd();
  };
  const key = (event: KeyboardEvent) => {
    if (isComposing(event.nativeEvent)) return;
    if (event.key === "Enter") keep();
    if (event.key !== "Escape") return;
    event.stopPropagation();
    if (field.current) field.current.value = chat.title;
    onEnd();
  };
  return (
    <input
      ref={field}
      aria-label="Name of the chat"
      className={styles.rename}
      defaultValue={chat.title}
      maxLength={200}
      onBlur={keep}
      onKeyDown={key}
    />
  );
}
