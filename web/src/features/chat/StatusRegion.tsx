import { useEffect, useRef, useState } from "react";
import type { Status } from "~/core/types";
import { useTranscript } from "~/hooks";
import { Hidden } from "~/ui/Hidden";

/** What a change of an answer's state is called; the first sight of a finished one says nothing. */
export function announcement(before: Status | null, now: Status | null): string | null {
  if (now === before || now === null) return null;
  if (now === "streaming") return "Answering…";
  if (now === "queued") return "Your question waits for its turn.";
  if (before === null || before === "unknown") return null;
  if (now === "completed") return "The answer is complete.";
  if (now === "cancelled") return "The answer was stopped.";
  return now === "failed" ? "The answer failed." : null;
}

/** The one place that tells screen readers how the newest answer stands. */
export function StatusRegion({ requestId }: { requestId: string | null }) {
  const transcript = useTranscript(requestId);
  const status = transcript?.status ?? null;
  const known = useRef<{ id: string | null; status: Status | null }>({ id: null, status: null });
  const [words, say] = useState("");
  const failure = status === "failed" ? (transcript?.error?.message ?? "") : "";
  useEffect(() => {
    const before = known.current.id === requestId ? known.current.status : null;
    const told = announcement(before, status);
    known.current = { id: requestId, status };
    if (told) say(failure ? `${told} ${failure}` : told);
  }, [requestId, status, failure]);
  const failed = words.startsWith("The answer failed");
  return (
    <Hidden>
      <span role="status">{failed ? "" : words}</span>
      <span role="alert">{failed ? words : ""}</span>
    </Hidden>
  );
}
