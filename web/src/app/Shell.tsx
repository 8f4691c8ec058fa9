import { type ReactNode, useEffect, useState } from "react";
import { flushSync } from "react-dom";
import { Sidebar } from "~/features/chats/Sidebar";
import { actions, useChat, useConfig, useOperating, usePreferences, useRoute } from "~/hooks";
import { IconButton } from "~/ui/Button";
import { join } from "~/ui/join";
import { ConnectionSign } from "./ConnectionSign";
import { Drawer } from "./Drawer";
import styles from "./Shell.module.css";
import { useWide } from "./useWide";

interface ShellProps {
  /** Grows with each wish to search. */
  sought: number;
  onSettings: () => void;
  onTokens: () => void;
  onHelp: () => void;
  children: ReactNode;
}

/** Sidebar and conversation side by side; on phones the sidebar is a drawer. */
export function Shell({ sought, children, ...rest }: ShellProps) {
  const wide = useWide();
  const collapsed = !usePreferences().sidebar;
  const [drawn, draw] = useState(false);
  const { chatId } = useRoute();
  const operating = useOperating();
  // biome-ignore lint/correctness/useExhaustiveDependencies: another page closes the drawer
  useEffect(() => draw(false), [chatId, operating]);
  const shown = wide && !collapsed;
  useEffect(() => {
    if (sought === 0) return;
    showSidebar(true);
    draw(true);
  }, [sought]);
  return (
    <div className={join(styles.shell, shown && styles.parted, wide && collapsed && styles.railed)}>
      {shown && (
        <aside className={styles.side} aria-label="Sidebar">
          <Sidebar {...rest} sought={sought} onCollapse={() => switchSidebar(false)} />
        </aside>
      )}
      {!wide && drawn && (
        <Drawer label="Sidebar" onClose={() => draw(false)}>
          <Sidebar {...rest} sought={sought} onCollapse={() => draw(false)} />
        </Drawer>
      )}
      {wide && collapsed && <Rail onShow={() => switchSidebar(true)} />}
      <div className={styles.main} inert={!wide && drawn}>
        {!wide && <Bar onShow={() => draw(true)} />}
        <ConnectionSign />
        <main className={styles.conversation}>{children}</main>
      </div>
    </div>
  );
}

function showSidebar(sidebar: boolean): void {
  actions.setPreferences({ sidebar });
}

/** The button that takes the other's place takes its focus. */
function switchSidebar(sidebar: boolean): void {
  flushSync(() => showSidebar(sidebar));
  document.querySelector<HTMLElement>("aside [data-switch]")?.focus();
}

/** What is left of the sidebar when it is hidden. */
function Rail({ onShow }: { onShow: () => void }) {
  const { open } = useRoute();
  return (
    <aside className={styles.rail} aria-label="Sidebar, hidden">
      <IconButton label="Show sidebar" icon="sidebar" data-switch="" onClick={onShow} />
      <IconButton label="New chat" icon="plus" onClick={() => open(null)} />
    </aside>
  );
}

/** On phones: the way to the chats, and what this one is called. */
function Bar({ onShow }: { onShow: () => void }) {
  const { chatId, open } = useRoute();
  const { chat } = useChat(chatId);
  const product = useConfig()?.ui.name ?? "";
  return (
    <header className={styles.bar}>
      <IconButton label="Show sidebar" icon="menu" onClick={onShow} />
      {chat ? (
        <h1 dir="auto" className={styles.title}>
          {chat.title}
        </h1>
      ) : (
        <span className={styles.name}>{product}</span>
      )}
      <IconButton label="New chat" icon="plus" onClick={() => open(null)} />
    </header>
  );
}
