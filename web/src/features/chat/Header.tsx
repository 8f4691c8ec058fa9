import type { Chat } from "~/core/types";
import { download } from "~/hooks";
import { IconButton } from "~/ui/Button";
import { Hidden } from "~/ui/Hidden";
import { Menu, MenuItem } from "~/ui/Menu";
import styles from "./Header.module.css";

interface HeaderProps {
  /** null while it is unknown. */
  chat: Chat | null;
  /** The chat is not there yet: its first question is on its way. */
  fresh: boolean;
  agent: string;
}

/** What this chat is called, who answers in it, and the way to take it along. */
export function Header({ chat, fresh, agent }: HeaderProps) {
  return (
    <header className={styles.header}>
      {chat ? (
        <h1 dir="auto" className={styles.title}>
          {chat.title}
        </h1>
      ) : (
        fresh && (
          <Hidden>
            <h1>New chat</h1>
          </Hidden>
        )
      )}
      <span className={styles.agent}>{agent}</span>
      {chat && <Export chatId={chat.id} />}
    </header>
  );
}

function Export({ chatId }: { chatId: string }) {
  return (
    <Menu button={(given) => <IconButton small label="Export chat" icon="download" {...given} />}>
      <MenuItem icon="download" onSelect={() => download(chatId, "md")}>
        Export as Markdown
      </MenuItem>
      <MenuItem icon="download" onSelect={() => download(chatId, "json")}>
        Export as JSON
      </MenuItem>
    </Menu>
  );
}
