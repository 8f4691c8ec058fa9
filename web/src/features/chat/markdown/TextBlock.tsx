import { memo, useEffect, useMemo, useState } from "react";
import Markdown, { type Options } from "react-markdown";
import { safeAddress } from "./address";
import { BLOCK_CHARACTERS_MAX, WHOLE_CHARACTERS_MAX } from "./blocks";
import { elementsFor, Growing } from "./elements";
import { gfm } from "./gfm";
import styles from "./Markdown.module.css";
import { withMath, withSources } from "./math";

type Plugins = NonNullable<Options["remarkPlugins"]>;

const GFM: Plugins = [gfm];

let withMathPlugins: Plugins | null = null;

async function loadMath(): Promise<Plugins> {
  const { default: remarkMath } = await import("remark-math");
  withMathPlugins ??= [...GFM, [remarkMath, { singleDollarTextMath: false }]];
  return withMathPlugins;
}

/** Returns the parser's plug-ins; those for math are fetched with the first block that has some. */
function usePlugins(math: boolean): Plugins {
  const [plugins, setPlugins] = useState(withMathPlugins);
  useEffect(() => {
    if (!math || plugins) return;
    loadMath().then(setPlugins, () => undefined);
  }, [math, plugins]);
  return (math && plugins) || GFM;
}

type Repair = (text: string) => string;

let repairing: Repair | null = null;

/** Returns what completes half-written text; fetched with the first answer that is watched. */
function useRepair(open: boolean): Repair | null {
  const [repair, setRepair] = useState(() => repairing);
  useEffect(() => {
    if (!open || repair) return;
    import("./repair").then(
      (loaded) => {
        repairing = loaded.repair;
        setRepair(() => loaded.repair);
      },
      () => undefined,
    );
  }, [open, repair]);
  return open ? repair : null;
}

interface TextBlockProps {
  text: string;
  /** More may follow: what is half written is shown as it will most likely end. */
  open: boolean;
  /** Nothing follows, though more should have. */
  cut: boolean;
  /** Of the first heading in the whole text; null = there is none. */
  level: number | null;
  /** It is all of the text. */
  whole: boolean;
  /** Of the text among those of the page. */
  id: string;
}

/** A block of Markdown that is not code. */
export const TextBlock = memo(function TextBlock(props: TextBlockProps) {
  const { text, open, cut, level, id } = props;
  const whole = useRepair(open || cut)?.(text) ?? text;
  const math = withMath(whole);
  const plugins = usePlugins(math !== null);
  const marks = useMemo(() => ({ clobberPrefix: `${id}-` }), [id]);
  const characters_max = props.whole ? WHOLE_CHARACTERS_MAX : BLOCK_CHARACTERS_MAX;
  if (text.length > characters_max) return <p className={styles.raw}>{text}</p>;
  return (
    <Growing value={open}>
      <Markdown
        remarkPlugins={plugins}
        remarkRehypeOptions={marks}
        components={elementsFor(level)}
        urlTransform={safeAddress}
      >
        {plugins === GFM && math !== null ? withSources(math) : (math ?? whole)}
      </Markdown>
    </Growing>
  );
});
