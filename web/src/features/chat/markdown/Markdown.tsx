import { memo, useEffect, useId, useRef } from "react";
import { join } from "~/ui/join";
import { CodeView } from "../code/CodeView";
import { Pace } from "../scroll/pace";
import { useRange } from "../scroll/stepwise";
import { Blocks, type Parted } from "./blocks";
import { withDefinitions } from "./definitions";
import type { Group } from "./groups";
import styles from "./Markdown.module.css";
import type { Block } from "./split";
import { TextBlock } from "./TextBlock";

/** Shared by all answers: what a block costs is much the same everywhere. */
const BLOCKS = new Pace(6);
/** A group rests once its size is known. */
const REST_AFTER_MS = 1_000;

interface MarkdownProps {
  text: string;
  /** More may follow. */
  growing?: boolean;
  /** It ended in the middle: what is half written is shown as it would have ended. */
  cut?: boolean;
}

/** Markdown of untrusted text that may grow: only its last block is parsed again. */
export const Markdown = memo(function Markdown(props: MarkdownProps) {
  const { text, growing = false, cut = false } = props;
  const held = useRef<Blocks | null>(null);
  held.current ??= new Blocks();
  const { groups, count, ...shared } = held.current.update(text, growing);
  const id = useId();
  const { from, to } = useRange(count, BLOCKS);
  return (
    <div className={join(styles.markdown, growing && styles.growing)}>
      {groups.map((group, n) => {
        const end = group.start + group.blocks.length;
        if (end <= from || group.start >= to) return null;
        return (
          <GroupView
            key={group.start}
            group={group}
            from={Math.max(from, group.start)}
            to={Math.min(to, end)}
            last={n === groups.length - 1}
            open={growing && n === groups.length - 1}
            cut={cut && n === groups.length - 1}
            id={id}
            {...shared}
          />
        );
      })}
    </div>
  );
});

interface Shared extends Pick<Parted, "definitions" | "level" | "whole"> {
  /** Of this text among those of the page. */
  id: string;
}

interface GroupViewProps extends Shared {
  group: Group;
  /** Which blocks are shown, counted in the whole text. */
  from: number;
  to: number;
  last: boolean;
  /** More may follow. */
  open: boolean;
  cut: boolean;
}

/** Some blocks. Out of sight a group rests: it keeps its size, and costs nothing while others grow. */
const GroupView = memo(function GroupView(props: GroupViewProps) {
  const { group, from, to, last, open, cut, ...rest } = props;
  const box = useRef<HTMLDivElement>(null);
  const complete = !open && to - from === group.blocks.length;
  useEffect(() => {
    if (!complete) return;
    // Not by a class of React's: nothing has to be rendered for it.
    const rest = () => box.current?.classList.add(styles.resting ?? "");
    // The browser knows its size only when it has been in a frame: on a busy machine that is late.
    const timer = setTimeout(
      () => requestAnimationFrame(() => requestAnimationFrame(rest)),
      REST_AFTER_MS,
    );
    return () => clearTimeout(timer);
  }, [complete]);
  return (
    <div ref={box} className={join(styles.group, last && styles.last)}>
      {Array.from(group.blocks.entries(), ([n, block]) => {
        const place = group.start + n;
        if (place < from || place >= to) return null;
        const end = n === group.blocks.length - 1;
        return (
          <BlockView key={place} block={block} open={open && end} cut={cut && end} {...rest} />
        );
      })}
    </div>
  );
});

interface BlockViewProps extends Shared {
  block: Block;
  open: boolean;
  cut: boolean;
}

/** Each block stands in a box of its own, so that a new one restyles nothing but itself. */
const BlockView = memo(function BlockView({ block, open, definitions, ...rest }: BlockViewProps) {
  const { whole } = rest;
  const goesOn = block.kind === "text" && block.goesOn;
  return (
    <div dir="auto" className={goesOn ? styles.further : styles.block}>
      {block.kind === "code" ? (
        <CodeView text={block.text} language={block.language} open={open && block.open} />
      ) : (
        <TextBlock
          text={whole ? block.text : withDefinitions(block.text, definitions)}
          open={open}
          {...rest}
        />
      )}
    </div>
  );
});
