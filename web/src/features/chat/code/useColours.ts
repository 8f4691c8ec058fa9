import { useEffect, useRef, useState } from "react";
import { ColouredBlock, type Line } from "./colours";
import { languageOf } from "./languages";

export type Colours = ReadonlyMap<number, Line>;

const NONE: Colours = new Map();

/** Returns the colours known so far of code that may grow, by line; never waits for them. */
export function useColours(lines: readonly string[], language: string, open: boolean): Colours {
  const [colours, setColours] = useState<Colours>(NONE);
  const block = useRef<ColouredBlock | null>(null);
  const known = languageOf(language);

  useEffect(() => {
    if (!known) return;
    const whole = open ? lines.slice(0, -1) : lines;
    if (block.current?.feed(whole)) return;
    block.current?.close();
    const told = new Map<number, Line>();
    block.current = new ColouredBlock(known, ({ from, lines: fresh }) => {
      fresh.forEach((line, n) => {
        told.set(from + n, line);
      });
      setColours(new Map(told));
    });
    block.current.feed(whole);
  }, [lines, known, open]);

  useEffect(
    () => () => {
      block.current?.close();
      block.current = null;
    },
    [],
  );
  return colours;
}
