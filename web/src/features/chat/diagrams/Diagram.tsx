import { useEffect, useState } from "react";
import { usePreferences } from "~/hooks";
import { Button } from "~/ui/Button";
import { CopyButton } from "~/ui/CopyButton";
import { useDark } from "~/ui/theme";
import { CodeBlock } from "../code/CodeBlock";
import code from "../code/CodeBlock.module.css";
import styles from "./Diagram.module.css";
import { type Drawing, draw } from "./drawing";

/** A diagram that is written in Mermaid's words: its source until it is drawn, or for good. */
export default function Diagram({ source }: { source: string }) {
  const drawing = useDrawing(source);
  const [asSource, showSource] = useState(false);
  if (!drawing) return <CodeBlock code={source} language="mermaid" />;
  return (
    <figure className={code.block} aria-label="Diagram">
      <figcaption className={code.head}>
        <span className={code.language}>mermaid</span>
        <span className={styles.ways}>
          <Button tone="quiet" onClick={() => showSource(!asSource)}>
            {asSource ? "Diagram" : "Source"}
          </Button>
          <CopyButton label="Copy code" text={() => source} words />
        </span>
      </figcaption>
      {asSource ? <Source text={source} /> : <Picture {...drawing} />}
    </figure>
  );
}

function Source({ text }: { text: string }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: long lines are scrolled with the keys
    <pre className={code.code} tabIndex={0}>
      <code>{text}</code>
    </pre>
  );
}

function Picture({ picture, width, height }: Drawing) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a group for the keys, not a fieldset
    // biome-ignore lint/a11y/noNoninteractiveTabindex: large drawings are scrolled with the keys
    <div role="group" aria-label="Drawing" className={styles.drawing} tabIndex={0}>
      <img
        src={picture}
        width={width}
        height={height}
        alt="The diagram; its words are its source"
      />
    </div>
  );
}

/** Returns the drawing in the colours of the page; null until there is one, or when there is none. */
function useDrawing(source: string): Drawing | null {
  const dark = useDark(usePreferences().theme);
  const [drawing, setDrawing] = useState<Drawing | null>(null);
  useEffect(() => {
    let wanted = true;
    void draw(source, dark).then((done) => wanted && setDrawing(done));
    return () => {
      wanted = false;
    };
  }, [source, dark]);
  return drawing;
}
