import type { Chat } from "~/core/types";
import { IconButton } from "~/ui/Button";
import { Menu, MenuItem } from "~/ui/Menu";
import styles from "./Header.module.css";

interface HeaderProps {
  chat: Chat;
  agent: string;
}

/** What this chat is called, who answers in it, and the way to take it along. */
export function Header({ chat, agent }: HeaderProps) {
  return (
    <header className={styles.header}>
      <h1 className={styles.title}>{chat.title}</h1>
      <span className={styles.agent}>{agent}</span>
      <Menu trigger={<IconButton small label="Export chat" icon="download" />}>
        <MenuItem icon="download" onSelect={() => download(chat.id, "md")}>
          Export as Markdown
        </MenuItem>
        <MenuItem icon="download" onSelect={() => download(chat.id, "json")}>
          Export as JSON
        </MenuItem>
      </Menu>
    </header>
  );
}

function download(chatId: string, format: "md" | "json"): void {
  const link = document.createElement("a");
  link.href = `/api/chats/${chatId}/export?format=${format}`;
  link.download = "";
  link.click();
}
