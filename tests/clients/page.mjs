// Renders examples/chat_page.jsx: types a question, reloads in mid-answer, tells what is shown.
// Run as `node page.mjs SERVER_URL`.
import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { Window } from "happy-dom";
import { transform } from "sucrase";

const [base] = process.argv.slice(2);
const window = new Window({ url: base });
Object.assign(globalThis, { window, document: window.document });
const React = await import("react");
const { createRoot } = await import("react-dom/client");
const source = readFileSync(new URL("../../examples/chat_page.jsx", import.meta.url), "utf8");
const built = new URL(`node_modules/.page-${process.pid}.mjs`, import.meta.url);
writeFileSync(built, transform(source, { transforms: ["jsx"] }).code);
const { default: ChatPage } = await import(pathToFileURL(built.pathname));

function open() {
  const host = window.document.createElement("div");
  window.document.body.append(host);
  const root = createRoot(host);
  root.render(React.createElement(ChatPage, { id: "page", base }));
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
