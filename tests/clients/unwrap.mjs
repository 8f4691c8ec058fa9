// Checks a webhook with the official JavaScript client, any version; told on the standard input.
// Run as `node unwrap.mjs PACKAGE`.
import { createInterface } from "node:readline";

const { default: OpenAI } = await import(process.argv[2]);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { body, headers, secret } = JSON.parse((await lines.next()).value);
const client = new OpenAI({ apiKey: "x", webhookSecret: secret });
const event = await client.webhooks.unwrap(body, headers);
const changed = await client.webhooks.unwrap(`${body} `, headers).then(
  () => "accepted",
  (error) => (error.constructor.name === "InvalidWebhookSignatureError" ? "refused" : String(error)),
);
console.log(JSON.stringify({ unwrapped: [event.type, event.data.id, changed] }));
process.exit(0);
