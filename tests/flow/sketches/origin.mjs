// A front end of the app in which the idea was born, as far as it speaks with its server:
// it posts a question, reads `data:` lines as they come, and gives a verdict by the trace's id.
const [base] = process.argv.slice(2);

async function ask(message, chat_id) {
  const body = { agent_id: "agent", messages: [{ role: "user", content: message }] };
  const response = await fetch(`${base}/api/invoke_endpoint?dialect=agent-events`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Forwarded-User": "ann" },
    body: JSON.stringify(chat_id ? { ...body, chat_id } : body),
  });
  const seen = { text: "", tools: [], chat_id, trace_id: null, is_error: null, done: false };
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of response.body) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop();
    for (const line of lines) read(line, seen);
  }
  return seen;
}

function read(line, seen) {
  if (!line.startsWith("data: ")) return;
  const data = line.slice(6);
  if (data === "[DONE]") {
    seen.done = true;
    return;
  }
  const event = JSON.parse(data);
  if (event.type === "chat.created") seen.chat_id = event.chat_id;
  if (event.type === "response.output_text.delta") seen.text += event.delta;
  if (event.type === "response.output_item.done" && event.item.type === "function_call") {
    seen.tools.push(event.item.name);
  }
  if (event.type === "error") seen.error = event.message;
  if (event.type === "stream.completed") {
    seen.trace_id = event.trace_id;
    seen.is_error = event.is_error;
  }
}

const first = await ask("one");
const verdict = await fetch(`${base}/api/log_assessment`, {
  method: "POST",
  headers: { "Content-Type": "application/json", "X-Forwarded-User": "ann" },
  body: JSON.stringify({ trace_id: first.trace_id, name: "user_feedback", value: true }),
});
const second = await ask("two", first.chat_id);
console.log(JSON.stringify({ first, verdict: verdict.status, second }));
