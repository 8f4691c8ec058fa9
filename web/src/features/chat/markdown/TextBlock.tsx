import { memo, useEffect, useState } from "react";
import Markdown, { type Options } from "react-markdown";
import { safeAddress } from "./address";
import { elementsFor } from "./elements";
import { gfm } from "./gfm";
import { withMath, withSources } from "./math";

type Plugins = NonNullable<Options["remarkPlugins"]>;

/** More than this in one paragraph is no prose: it is shown as it is. */
const PARSED_CHARACTERS_MAX = 12_000;
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
  /** Of the first heading in the whole text; null = there is none. */
  level: number | null;
}

/** A block of Markdown that is not code. */
export const TextBlock = memo(function TextBlock({ text, open, level }: TextBlockProps) {
  const whole = useRepair(open)?.(text) ?? text;
  const math = withMath(whole);
  const plugins = usePlugins(math !== null);
  if (text.length > PARSED_CHARACTERS_MAX) return <p>{text}</p>;
  return (
    <Markdown remarkPlugins={plugins} components={elementsFor(level)} urlTransform={safeAddress}>
      {plugins === GFM && math !== null ? withSources(math) : (math ?? whole)}
    </Markdown>
  );
});
