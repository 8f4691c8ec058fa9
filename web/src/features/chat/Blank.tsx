import { actions, useRoute } from "~/hooks";
import { Button } from "~/ui/Button";
import { Skeleton } from "~/ui/Skeleton";
import styles from "./Blank.module.css";

interface BlankProps {
  chatId: string;
  load: "loading" | "missing" | "failed";
  problem: string | null;
}

/** What stands in place of a conversation that is not there, or not yet. */
export function Blank({ chatId, load, problem }: BlankProps) {
  const { open } = useRoute();
  if (load === "loading") {
    return (
      <div className={styles.loading}>
        <Skeleton label="Loading the chat" lines={6} />
      </div>
    );
  }
  const missing = load === "missing";
  return (
    <div className={styles.blank} role="alert">
      <h1 className={styles.title}>
        {missing ? "This chat is not here" : "The chat cannot be loaded now"}
      </h1>
      <p>{missing ? "It was deleted, or it belongs to somebody else." : problem}</p>
      {missing ? (
        <Button tone="primary" onClick={() => open(null)}>
          New chat
        </Button>
      ) : (
        <Button tone="primary" icon="retry" onClick={() => void actions.reload(chatId)}>
          Try again
        </Button>
      )}
    </div>
  );
}
