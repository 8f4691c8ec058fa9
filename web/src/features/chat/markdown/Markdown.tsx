import { memo, useRef } from "react";
import { CodeBlock } from "../code/CodeBlock";
import { useRange } from "../scroll/stepwise";
import { definitionsOf, hasFootnotes, withDefinitions } from "./definitions";
import styles from "./Markdown.module.css";
import { type Block, Splitter } from "./split";
import { TextBlock } from "./TextBlock";

/** Some milliseconds of work. */
const BLOCKS_PER_STEP = 6;

interface MarkdownProps {
  text: string;
  /** More may follow. */
  growing?: boolean;
}

/** Markdown of untrusted text that may grow: only its last block is parsed again. */
export const Markdown = memo(function Markdown({ text, growing = false }: MarkdownProps) {
  const splitter = useRef<Splitter | null>(null);
  splitter.current ??= new Splitter();
  const whole = !growing && hasFootnotes(text);
  const blocks: readonly Block[] = whole
    ? [{ kind: "text", text, goesOn: false }]
    : splitter.current.update(text);
  const known = definitionsOf(text);
  const { from, to } = useRange(blocks.length, BLOCKS_PER_STEP);
  return (
    <div className={styles.markdown}>
      {Array.from(blocks.entries(), ([place, block]) =>
        place < from || place >= to ? null : (
          <BlockView
            key={place}
            block={block}
            open={growing && place === blocks.length - 1}
            definitions={known}
          />
        ),
      )}
    </div>
  );
});

interface BlockViewProps {
  block: Block;
  open: boolean;
  definitions: ReadonlyMap<string, string>;
}

/** Each block stands in a box of its own, so that a new one restyles nothing but itself. */
const BlockView = memo(function BlockView({ block, open, definitions }: BlockViewProps) {
  const goesOn = block.kind === "text" && block.goesOn;
  return (
    <div className={goesOn ? styles.further : styles.block}>
      {block.kind === "code" ? (
        <CodeBlock code={block.text} language={block.language} open={open && block.open} />
      ) : (
        <TextBlock text={withDefinitions(block.text, definitions)} open={open} />
      )}
    </div>
  );
});
