import { type MouseEvent, memo, useRef, useState } from "react";
import { flushSync } from "react-dom";
import { at } from "~/core/root";
import type { Chat } from "~/core/types";
import { actions, download, useRoute } from "~/hooks";
import { IconButton } from "~/ui/Button";
import { focusComposer } from "~/ui/focus";
import { join } from "~/ui/join";
import { Menu, MenuItem, MenuLine } from "~/ui/Menu";
import { Rename } from "./Rename";
import styles from "./Sidebar.module.css";
import { Slot } from "./Slot";

/** One chat: its title, its state in a slot of fixed width, and its menu. */
export const ChatRow = memo(function ChatRow({ chat }: { chat: Chat }) {
  const { chatId, open } = useRoute();
  const [renaming, rename] = useState(false);
  const link = useRef<HTMLAnchorElement>(null);
  const end = (byKeys: boolean) => {
    if (!byKeys) return rename(false);
    flushSync(() => rename(false));
    link.current?.focus();
  };
  const current = chat.id === chatId;
  // What one looks at is read; the server hears of it in the same moment.
  const shown = current && chat.unread ? { ...chat, unread: false } : chat;
  const go = (event: MouseEvent) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    open(chat.id);
  };
  if (renaming) {
    return (
      <li className={join(styles.row, styles.current)}>
        <Rename chat={chat} onEnd={end} />
      </li>
    );
  }
  return (
    <li className={join(styles.row, current && styles.current, shown.unread && styles.unread)}>
      <a
        ref={link}
        href={at(`/c/${chat.id}`)}
        className={styles.link}
        aria-current={current ? "page" : undefined}
        onClick={go}
        onDoubleClick={() => rename(true)}
      >
        <span dir="auto" className={styles.title} title={chat.title}>
          {chat.title}
        </span>
        <Slot chat={shown} />
      </a>
      <RowMenu chat={chat} onRename={() => rename(true)} />
    </li>
  );
});

function RowMenu({ chat, onRename }: { chat: Chat; onRename: () => void }) {
  const goes = (act: () => void) => () => {
    act();
    focusComposer();
  };
  return (
    <Menu
      button={(given) => (
        <IconButton
          label={`Menu of ${chat.title}`}
          icon="more"
          small
          tooltip={false}
          className={styles.menu}
          {...given}
        />
      )}
    >
      <MenuItem icon="pencil" onSelect={onRename}>
        Rename
      </MenuItem>
      <MenuItem icon="pin" onSelect={() => actions.pin(chat.id, !chat.pinned)}>
        {chat.pinned ? "Unpin" : "Pin"}
      </MenuItem>
      <MenuItem icon="archive" onSelect={goes(() => void actions.archive(chat.id, !chat.archived))}>
        {chat.archived ? "Move back" : "Archive"}
      </MenuItem>
      <MenuLine />
      <MenuItem icon="download" onSelect={() => download(chat.id, "md")}>
        Export as Markdown
      </MenuItem>
      <MenuItem icon="download" onSelect={() => download(chat.id, "json")}>
        Export as JSON
      </MenuItem>
      <MenuLine />
      <MenuItem icon="trash" danger onSelect={goes(() => actions.remove(chat.id))}>
        Delete
      </MenuItem>
    </Menu>
  );
}
