import { type ReactNode, type RefObject, useEffect, useState } from "react";
import { Sidebar } from "~/features/chats/Sidebar";
import { useChat, useConfig, useRoute } from "~/hooks";
import { IconButton } from "~/ui/Button";
import { join } from "~/ui/join";
import { ConnectionSign } from "./ConnectionSign";
import { Drawer } from "./Drawer";
import styles from "./Shell.module.css";
import { useWide } from "./useWide";

interface ShellProps {
  searchField: RefObject<HTMLInputElement | null>;
  onSettings: () => void;
  onHelp: () => void;
  children: ReactNode;
}

/** Sidebar and conversation side by side; on phones the sidebar is a drawer. */
export function Shell({ children, ...rest }: ShellProps) {
  const wide = useWide();
  const [collapsed, collapse] = useState(false);
  const [drawn, draw] = useState(false);
  const { chatId } = useRoute();
  // biome-ignore lint/correctness/useExhaustiveDependencies: another chat closes the drawer
  useEffect(() => draw(false), [chatId]);
  const shown = wide && !collapsed;
  return (
    <div className={join(styles.shell, shown && styles.parted)}>
      {shown && (
        <aside className={styles.side} aria-label="Sidebar">
          <Sidebar {...rest} onCollapse={() => collapse(true)} />
        </aside>
      )}
      {!wide && (
        <Drawer label="Sidebar" open={drawn} onClose={() => draw(false)}>
          <Sidebar {...rest} onCollapse={() => draw(false)} />
        </Drawer>
      )}
      <div className={styles.main}>
        {!shown && <Bar onShow={() => (wide ? collapse(false) : draw(true))} />}
        <ConnectionSign />
        <main className={styles.conversation}>{children}</main>
      </div>
    </div>
  );
}

function Bar({ onShow }: { onShow: () => void }) {
  const { chatId, open } = useRoute();
  const { chat } = useChat(chatId);
  const wide = useWide();
  const product = useConfig()?.ui.name ?? "";
  return (
    <header className={styles.bar}>
      <IconButton label="Show sidebar" icon="menu" onClick={onShow} />
      {chat && !wide ? (
        <h1 className={styles.title}>{chat.title}</h1>
      ) : (
        <span className={styles.name}>{product}</span>
      )}
      <IconButton label="New chat" icon="plus" onClick={() => open(null)} />
    </header>
  );
}
