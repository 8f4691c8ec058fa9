// Runs behind Mermaid in a frame without an origin: draws what it is told, knows nothing else and
// reaches nobody but the page around it.

/** @type {Record<string, unknown>} */
const RULES = {
  startOnLoad: false,
  securityLevel: "strict",
  htmlLabels: false,
  suppressErrorRendering: true,
  fontFamily: "ui-sans-serif, system-ui, sans-serif",
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
  globalThis.mermaid.initialize({ ...RULES, theme: dark ? "dark" : "neutral" });
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
