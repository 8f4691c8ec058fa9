import type { Chat } from "~/core/types";
import { Skeleton } from "~/ui/Skeleton";
import { ChatRow } from "./ChatRow";
import styles from "./Sidebar.module.css";

interface FoundProps {
  chats: readonly Chat[];
  loading: boolean;
  sought: string;
}

/** The chats in whose title or text something was found. */
export function Found({ chats, loading, sought }: FoundProps) {
  if (loading) return <Skeleton label="Searching" lines={3} />;
  return (
    <>
      <p role="status" className={styles.nothing}>
        {chats.length === 0 ? `Nothing was found for “${sought.trim()}”.` : countOf(chats.length)}
      </p>
      <ul className={styles.rows} aria-label="Search results">
        {chats.map((chat) => (
          <ChatRow key={chat.id} chat={chat} />
        ))}
      </ul>
    </>
  );
}

function countOf(found: number): string {
  return found === 1 ? "1 chat found" : `${found} chats found`;
}
