import type { Transcript } from "~/core/types";
import { useConnection } from "~/hooks";
import { Spinner } from "~/ui/Spinner";
import styles from "./Answer.module.css";
import type { Part } from "./parts";

interface ProgressProps {
  transcript: Transcript;
  parts: readonly Part[];
}

/** What an unfinished answer is waiting for; nothing once its text flows. */
export function Progress({ transcript, parts }: ProgressProps) {
  const connection = useConnection();
  const words = wordsFor(transcript, parts);
  if (!words) return null;
  return (
    <p className={styles.progress}>
      {connection === "offline" ? null : <Spinner />}
      {words}
    </p>
  );
}

function wordsFor({ status, attempt, queue_position }: Transcript, parts: readonly Part[]): string {
  if (status === "queued") {
    if (!queue_position) return "Waiting for its turn";
    const place = queue_position === 1 ? "next" : `number ${queue_position}`;
    return `Waiting for its turn: ${place} in line`;
  }
  const begun = parts.length > 0;
  if (attempt > 1 && !begun) return `Started again after an interruption (attempt ${attempt})`;
  if (!begun) return "Thinking…";
  const end = parts.at(-1);
  return end?.kind === "tool" && end.state === "done" ? "Working…" : "";
}
