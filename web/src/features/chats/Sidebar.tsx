import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import { at } from "~/core/root";
import { operate, useChatSearch, useConfig, useMe, useRoute } from "~/hooks";
import { session } from "~/hooks/session";
import { Button, IconButton } from "~/ui/Button";
import { focusComposer } from "~/ui/focus";
import { Icon } from "~/ui/icons";
import { Menu, MenuItem } from "~/ui/Menu";
import { ChatGroups } from "./ChatGroups";
import { Found } from "./Found";
import { Logo } from "./Logo";
import styles from "./Sidebar.module.css";

interface SidebarProps {
  /** Grows with each wish to search: then the field takes the focus. */
  sought: number;
  onCollapse: () => void;
  onSettings: () => void;
  onTokens: () => void;
  onHelp: () => void;
}

/** All of one's chats, how each stands, and the way to a new one. */
export function Sidebar({ sought, onCollapse, ...ways }: SidebarProps) {
  const { open } = useRoute();
  const [words, seek] = useState("");
  const searchField = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (sought > 0) searchField.current?.focus();
  }, [sought]);
  const [archived, showArchived] = useState(false);
  const found = useChatSearch(words);
  const clear = (event: KeyboardEvent<HTMLInputElement>) => {
    if (event.key !== "Escape") return;
    if (words === "") leave(event);
    else event.stopPropagation();
    seek("");
  };
  return (
    <div className={styles.sidebar}>
      <header className={styles.head}>
        <Name />
        <IconButton label="Hide sidebar" icon="sidebar" small data-switch="" onClick={onCollapse} />
      </header>
      <div className={styles.tools}>
        <Button icon="plus" className={styles.fresh} onClick={() => open(null)}>
          New chat
        </Button>
        <label className={styles.search}>
          <Icon name="search" size={16} />
          <input
            ref={searchField}
            type="search"
            aria-label="Search chats"
            placeholder="Search"
            value={words}
            onChange={(event) => seek(event.target.value)}
            onKeyDown={clear}
          />
        </label>
      </div>
      <nav className={styles.list} aria-label={archived ? "Archived chats" : "Chats"}>
        {archived && (
          <button type="button" className={styles.back} onClick={() => showArchived(false)}>
            <Icon name="chevronLeft" size={16} /> All chats
          </button>
        )}
        {found ? <Found {...found} sought={words} /> : <ChatGroups archived={archived} />}
      </nav>
      <Footer
        {...ways}
        onArchived={() => {
          seek("");
          showArchived(true);
        }}
      />
    </div>
  );
}

/** Leaves the search for the composer: Escape must not stop the answer too. A drawer closes by it. */
function leave(event: KeyboardEvent<HTMLInputElement>): void {
  if (event.currentTarget.closest("[role=dialog]")) return;
  event.preventDefault();
  focusComposer();
}

function Name() {
  const { open } = useRoute();
  const name = useConfig()?.ui.name ?? document.title;
  return (
    <a
      href={at("/")}
      className={styles.name}
      onClick={(event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        open(null);
      }}
    >
      <Logo />
      {name}
    </a>
  );
}

interface FooterProps {
  onSettings: () => void;
  onTokens: () => void;
  onHelp: () => void;
  onArchived: () => void;
}

function Footer({ onSettings, onTokens, onHelp, onArchived }: FooterProps) {
  const me = useMe();
  return (
    <footer className={styles.foot}>
      <span className={styles.person} title={me?.display}>
        {me?.display}
      </span>
      <IconButton label="Settings" icon="gear" small onClick={onSettings} />
      <Menu
        side="top"
        button={(given) => <IconButton label="More" icon="more" small tooltip={false} {...given} />}
      >
        <MenuItem icon="archive" onSelect={onArchived}>
          Archived chats
        </MenuItem>
        {session.ours && (
          <MenuItem icon="key" onSelect={onTokens}>
            API tokens
          </MenuItem>
        )}
        {me?.admin && (
          <MenuItem icon="gauge" onSelect={operate}>
            Operator page
          </MenuItem>
        )}
        <MenuItem icon="help" hint="?" onSelect={onHelp}>
          Keyboard shortcuts
        </MenuItem>
        <MenuItem icon="external" onSelect={() => window.open(at("/docs"), "_blank", "noopener")}>
          API documentation
        </MenuItem>
        {session.ours && (
          <MenuItem icon="leave" onSelect={() => void session.signOut()}>
            Sign out
          </MenuItem>
        )}
      </Menu>
    </footer>
  );
}
