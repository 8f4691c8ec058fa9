import { useEffect, useLayoutEffect, useRef, useState } from "react";
import styles from "./Markdown.module.css";

type Katex = typeof import("katex").default;

let loading: Promise<Katex> | null = null;
let loaded: Katex | null = null;

/** Fetches the typesetter once, with the first formula of the page. */
function load(): Promise<Katex> {
  loading ??= import("./katex").then(({ katex }) => {
    loaded = katex;
    return katex;
  });
  return loading;
}

/** A formula; its source until the typesetter is there. */
export function Formula({ source, display = false }: { source: string; display?: boolean }) {
  const place = useRef<HTMLSpanElement>(null);
  const [katex, setKatex] = useState(() => loaded);
  useEffect(() => {
    if (katex) return;
    let wanted = true;
    load().then(
      (typesetter) => wanted && setKatex(() => typesetter),
      () => undefined,
    );
    return () => {
      wanted = false;
    };
  }, [katex]);
  // Before it is painted: an empty place would be seen.
  useLayoutEffect(() => {
    if (katex && place.current) {
      katex.render(source, place.current, { displayMode: display, throwOnError: false });
    }
  }, [katex, source, display]);
  const name = display ? styles.display : styles.inline;
  return katex ? (
    <span key="set" ref={place} className={name} />
  ) : (
    <span key="source" className={name}>
      <code>{source}</code>
    </span>
  );
}
