import { useEffect, useState } from "react";
import { Button, IconButton } from "./Button";
import { Hidden } from "./Hidden";

interface CopyButtonProps {
  label: string;
  text: () => string;
  /** Say it in words beside the icon. */
  words?: boolean;
}

const THANKS_MS = 1600;

/** Copies a text and says so for a moment. */
export function CopyButton({ label, text, words = false }: CopyButtonProps) {
  const [state, setState] = useState<"idle" | "done" | "failed">("idle");
  useEffect(() => {
    if (state === "idle") return;
    const timer = setTimeout(() => setState("idle"), THANKS_MS);
    return () => clearTimeout(timer);
  }, [state]);
  const act = () => {
    copyText(text()).then(
      () => setState("done"),
      () => setState("failed"),
    );
  };
  const icon = state === "done" ? "check" : state === "failed" ? "alert" : "copy";
  const said = state === "done" ? "Copied" : state === "failed" ? "Could not copy" : "";
  return (
    <>
      {words ? (
        <Button tone="quiet" icon={icon} aria-label={label} onClick={act}>
          {said || "Copy"}
        </Button>
      ) : (
        <IconButton small label={said || label} icon={icon} onClick={act} />
      )}
      <Hidden>
        <span aria-live="polite">{said}</span>
      </Hidden>
    </>
  );
}

/** Puts a text on the clipboard; pages without TLS have only the old way. */
export async function copyText(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (!copied) throw new Error("the browser did not copy");
}
