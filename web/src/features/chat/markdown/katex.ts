/** The typesetter of formulas with its fonts: loaded only when there is a formula. */

import "katex/dist/katex.min.css";
import katex from "katex";

export { katex };
