// Renders examples/next_page.jsx with examples/chat_page.jsx in it, and follows the rewrites of
// examples/next.config.mjs as Next.js would: types a question, reloads in mid-answer, tells what is
// shown. Run as `node page.mjs SERVER_URL`.
import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { Window } from "happy-dom";
import { transform } from "sucrase";

const [base] = process.argv.slice(2);
process.env.PERDURE_URL = base;
const window = new Window({ url: "http://127.0.0.1:1/" });
Object.assign(globalThis, { window, document: window.document });
const React = await import("react");
const { createRoot } = await import("react-dom/client");
const examples = new URL("../../examples/", import.meta.url);
const built = (name) => new URL(`node_modules/.page-${process.pid}-${name}.mjs`, import.meta.url);
for (const name of ["chat_page", "next_page"]) {
  const source = readFileSync(new URL(`${name}.jsx`, examples), "utf8");
  const { code } = transform(source, { transforms: ["jsx"] });
  const inside = built("chat_page").pathname;
  writeFileSync(built(name), code.replace("./chat_page.jsx", pathToFileURL(inside).href));
}
const { default: Page } = await import(built("next_page").href);
const { default: config } = await import(new URL("next.config.mjs", examples).href);
const [{ source, destination }] = await config.rewrites();
const [from, to] = [source, destination].map((one) => one.replace("/:path*", ""));
const straight = globalThis.fetch;
globalThis.fetch = (address, options) =>
  straight(address.startsWith(from) ? to + address.slice(from.length) : address, options);

function open() {
  const host = window.document.createElement("div");
  window.document.body.append(host);
  const root = createRoot(host);
  const page = React.createElement(Page, { params: Promise.resolve({ id: "page" }) });
  root.render(React.createElement(React.Suspense, { fallback: "" }, page));
  return { host, close: () => root.unmount() };
}
async function until(page, fact) {
  for (let look = 0; look < 800; look += 1) {
    const texts = [...page.host.querySelectorAll("p")].map((one) => one.textContent);
    const busy = page.host.querySelectorAll("button").length > 1;
    if (page.host.querySelector("form") && fact(texts, busy)) return texts;
    await sleep(25);
  }
  throw new Error(`not in time: ${page.host.innerHTML}`);
}

let page = open();
await until(page, () => true);
const input = page.host.querySelector("input");
const set = Object.getOwnPropertyDescriptor(window.HTMLInputElement.prototype, "value").set;
set.call(input, "What happens when I close the tab?");
input.dispatchEvent(new window.Event("input", { bubbles: true }));
await sleep(50);
page.host.querySelector("button").click();
const left = await until(page, (texts) => texts.length === 2 && texts[1].length > 20);
page.close();
page = open();
await until(page, (texts, busy) => texts.length === 2 && busy);
const shown = await until(page, (texts, busy) => texts.length === 2 && !busy);
console.log(JSON.stringify({ left, shown }));
process.exit(0);
