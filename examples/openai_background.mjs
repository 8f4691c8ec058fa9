// Start an answer in the background, lose the connection in the middle, and come back.
// In your project: `npm install openai`, and `import OpenAI from "openai"`.
const { default: OpenAI } = await import(process.env.OPENAI_PACKAGE ?? "openai");

const client = new OpenAI({
  baseURL: process.env.PERDURE_V1 ?? "http://127.0.0.1:8000/v1",
  apiKey: "unused",
});
const model = process.env.MODEL ?? "guide";
const input = "What happens when I close the tab?";

const stream = await client.responses.create({ model, input, background: true, stream: true });
let seen = -1;
let id = "";
for await (const event of stream) {
  seen = event.sequence_number;
  if (event.type === "response.created") id = event.response.id;
  if (event.type === "response.output_text.delta") {
    process.stdout.write(event.delta);
    break; // the train enters a tunnel
  }
}

for await (const event of await client.responses.retrieve(id, {
  stream: true,
  starting_after: seen,
})) {
  if (event.type === "response.output_text.delta") process.stdout.write(event.delta);
}

const whole = await client.responses.retrieve(id);
console.log(`\n${whole.id} is ${whole.status}`);
