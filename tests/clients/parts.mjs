// Reads streams of `/api/chat` with the real `ai`, and tells the messages that it makes of them.
// Run as `node parts.mjs AI`; on its standard input a line of JSON: { name: [stream part, …] }.
import { createInterface } from "node:readline";

const { readUIMessageStream } = await import(process.argv[2]);
const { value } = await createInterface({ input: process.stdin })[Symbol.asyncIterator]().next();

async function read(parts) {
  const stream = new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(part);
      controller.close();
    },
  });
  let last = null;
  for await (const message of readUIMessageStream({ stream, onError: () => {} })) last = message;
  return structuredClone(last);
}

const made = {};
for (const [name, parts] of Object.entries(JSON.parse(value))) made[name] = await read(parts);
console.log(JSON.stringify({ made }));
