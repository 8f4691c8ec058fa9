import { useEffect, useMemo, useRef } from "react";
import { groupsOf } from "~/core/chats";
import { useChatList, useNow } from "~/hooks";
import { Button } from "~/ui/Button";
import { Skeleton } from "~/ui/Skeleton";
import { ChatRow } from "./ChatRow";
import styles from "./Sidebar.module.css";

/** The chats by date, pinned ones first; more are read when the end comes into view. */
export function ChatGroups({ archived }: { archived: boolean }) {
  const list = useChatList(archived);
  const now = useNow();
  const groups = useMemo(() => groupsOf(list.chats, now), [list.chats, now]);
  if (list.loading && groups.length === 0) return <Skeleton label="Loading chats" lines={6} />;
  if (groups.length === 0) return <Nothing archived={archived} failed={list.failed} />;
  return (
    <>
      {groups.map((group) => (
        <section key={group.name} aria-label={group.name}>
          <h2 className={styles.group}>{group.name}</h2>
          <ul className={styles.rows}>
            {group.chats.map((chat) => (
              <ChatRow key={chat.id} chat={chat} />
            ))}
          </ul>
        </section>
      ))}
      {list.more && <More loading={list.loadingMore} loadMore={list.loadMore} />}
    </>
  );
}

function Nothing({ archived, failed }: { archived: boolean; failed: boolean }) {
  if (failed) return <p className={styles.nothing}>Your chats could not be read.</p>;
  return (
    <p className={styles.nothing}>
      {archived ? "No chat is archived." : "Your chats will be here."}
    </p>
  );
}

function More({ loading, loadMore }: { loading: boolean; loadMore: () => void }) {
  const end = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const node = end.current;
    if (!node || loading) return;
    const seen = new IntersectionObserver(([entry]) => entry?.isIntersecting && loadMore());
    seen.observe(node);
    return () => seen.disconnect();
  }, [loading, loadMore]);
  return (
    <div ref={end} className={styles.more}>
      <Button tone="quiet" disabled={loading} onClick={loadMore}>
        {loading ? "Loading…" : "Show more"}
      </Button>
    </div>
  );
}
