import type { Nodes } from "mdast";
import { gfmFromMarkdown } from "mdast-util-gfm";
import { gfm as syntax } from "micromark-extension-gfm";
import type {} from "remark-parse";
import type { Processor } from "unified";

const BREAK = /^<br ?\/?>$/i;

/** Makes line breaks of the one tag that models need in cells; all other HTML stays text. */
function withBreaks(node: Nodes): undefined {
  if (!("children" in node)) return;
  for (const [n, child] of node.children.entries()) {
    if (child.type === "html" && BREAK.test(child.value)) node.children[n] = { type: "break" };
    else withBreaks(child);
  }
}

/** GitHub's tables, task lists and strikethrough; reading only. `remark-gfm` brings a writer too,
 * which is a tenth of the page. */
export function gfm(this: Processor): undefined {
  const data = this.data();
  data.micromarkExtensions ??= [];
  data.micromarkExtensions.push(syntax({ singleTilde: false }));
  data.fromMarkdownExtensions ??= [];
  data.fromMarkdownExtensions.push(gfmFromMarkdown(), { transforms: [withBreaks] });
  return undefined;
}
