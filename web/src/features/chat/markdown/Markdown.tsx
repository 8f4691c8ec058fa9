import { memo, useRef } from "react";
import { CodeBlock } from "../code/CodeBlock";
import { useFrom } from "../scroll/stepwise";
import { definitionsOf, hasFootnotes, withDefinitions } from "./definitions";
import styles from "./Markdown.module.css";
import { type Block, Splitter } from "./split";
import { TextBlock } from "./TextBlock";

const BLOCKS_PER_STEP = 24;

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
  const blocks: readonly Block[] = whole ? [{ kind: "text", text }] : splitter.current.update(text);
  const known = definitionsOf(text);
  const from = useFrom(blocks.length, BLOCKS_PER_STEP);
  return (
    <div className={styles.markdown}>
      {Array.from(blocks.entries(), ([place, block]) =>
        place < from ? null : (
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

function BlockView({ block, open, definitions }: BlockViewProps) {
  return block.kind === "code" ? (
    <CodeBlock code={block.text} language={block.language} open={open && block.open} />
  ) : (
    <TextBlock text={withDefinitions(block.text, definitions)} open={open} />
  );
}
