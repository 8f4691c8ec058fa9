// Runs behind Mermaid in a frame without an origin: draws what it is told, knows nothing else and
// reaches nobody but the page around it.

/** @type {Record<string, unknown>} */
const RULES = {
  startOnLoad: false,
  securityLevel: "strict",
  htmlLabels: false,
  suppressErrorRendering: true,
  fontFamily: "ui-sans-serif, system-ui, sans-serif",
  // A line does not go through the words on it.
  themeCSS: ".edgeLabel rect, .labelBkg { opacity: 1; }",
  // What a text may not set for itself.
  secure: [
    "secure",
    "securityLevel",
    "startOnLoad",
    "maxTextSize",
    "maxEdges",
    "suppressErrorRendering",
    "htmlLabels",
    "fontFamily",
    "themeCSS",
  ],
};

/** The page's own colours, so that a drawing looks as if it belonged there. */
const FLAT = { dropShadow: "none", useGradient: false };
const LIGHT = {
  ...FLAT,
  background: "#f4f2ed",
  edgeLabelBackground: "#f4f2ed",
  lineColor: "#5d5951",
  noteBkgColor: "#f3e9d2",
  noteBorderColor: "#8b867c",
  noteTextColor: "#22201d",
  primaryBorderColor: "#8b867c",
  primaryColor: "#ffffff",
  primaryTextColor: "#22201d",
  secondaryColor: "#e1ece8",
  tertiaryColor: "#fcfbf9",
};
const DARK = {
  ...FLAT,
  background: "#141312",
  darkMode: true,
  edgeLabelBackground: "#141312",
  lineColor: "#b5b1a9",
  noteBkgColor: "#38332a",
  noteBorderColor: "#7d7870",
  noteTextColor: "#ecebe8",
  primaryBorderColor: "#7d7870",
  primaryColor: "#2a2927",
  primaryTextColor: "#ecebe8",
  secondaryColor: "#27342f",
  tertiaryColor: "#1b1a19",
};

let turn = Promise.resolve();

addEventListener("message", ({ data, source }) => {
  if (source !== parent) return;
  turn = turn.then(() => answer(data));
});

/** @param {{ id: number, source: string, dark: boolean }} order */
async function answer({ id, source, dark }) {
  try {
    parent.postMessage({ id, ...(await drawn(id, source, dark)) }, "*");
  } catch {
    parent.postMessage({ id, svg: null }, "*");
  }
}

/** Returns a picture that is well-formed by itself, and its size. */
async function drawn(id, source, dark) {
  globalThis.mermaid.initialize({
    ...RULES,
    theme: "base",
    themeVariables: dark ? DARK : LIGHT,
  });
  const { svg } = await globalThis.mermaid.render(`drawing-${id}`, source);
  const place = document.createElement("div");
  place.innerHTML = svg;
  const picture = place.querySelector("svg");
  const { width, height } = picture.viewBox.baseVal;
  picture.setAttribute("width", String(width));
  picture.setAttribute("height", String(height));
  return { svg: new XMLSerializer().serializeToString(picture), width, height };
}

parent.postMessage({ ready: true }, "*");
