import { useState } from "react";
import { Button } from "~/ui/Button";
import { join } from "~/ui/join";
import styles from "./Question.module.css";

/** More than this was pasted: the answer to it is what one looks for. */
const CHARACTERS_MAX = 1_600;
const LINES_MAX = 20;

/** What was asked, in its own words; much of it is folded, though searches find it all. */
export function Bubble({ text }: { text: string }) {
  const [whole, showWhole] = useState(false);
  const long = isLong(text);
  return (
    <>
      <div dir="auto" className={join(styles.bubble, long && !whole && styles.folded)}>
        {text}
      </div>
      {long && (
        <Button tone="quiet" aria-expanded={whole} onClick={() => showWhole(!whole)}>
          {whole ? "Show less" : "Show all"}
        </Button>
      )}
    </>
  );
}

function isLong(text: string): boolean {
  return text.length > CHARACTERS_MAX || text.split("\n", LINES_MAX + 1).length > LINES_MAX;
}
