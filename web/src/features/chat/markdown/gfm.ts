import { gfmFromMarkdown } from "mdast-util-gfm";
import { gfm as syntax } from "micromark-extension-gfm";
import type {} from "remark-parse";
import type { Processor } from "unified";

/** GitHub's tables, task lists and strikethrough; reading only. `remark-gfm` brings a writer too,
 * which is a tenth of the page. */
export function gfm(this: Processor): undefined {
  const data = this.data();
  data.micromarkExtensions ??= [];
  data.micromarkExtensions.push(syntax({ singleTilde: false }));
  data.fromMarkdownExtensions ??= [];
  data.fromMarkdownExtensions.push(gfmFromMarkdown());
  return undefined;
}
