import { expect, test } from "vitest";
import type { Item } from "~/core/types";
import { client, store } from "./connected";

const ID = "resp_1";
const item = {
  id: "msg_1",
  type: "message",
  status: "in_progress",
  role: "assistant",
  content: [],
};
const at = { item_id: "msg_1", output_index: 0, content_index: 0 };
const part = { type: "output_text", text: "", annotations: [] };

/** The events of an answer that says `count` pieces. */
function events(count: number) {
  return [
    { type: "response.output_item.added", output_index: 0, item: item as unknown as Item },
    { type: "response.content_part.added", ...at, part },
    ...Array.from({ length: count }, () => ({
      type: "response.output_text.delta",
      ...at,
      delta: "one ",
    })),
  ].map((event, sequence_number) => ({ ...event, sequence_number }));
}

const frame = () => new Promise((next) => requestAnimationFrame(next));

test("the page is told of many pieces once, in the next frame", async () => {
  client.transcripts.begin(ID);
  let changes = 0;
  const off = store.subscribe(() => {
    changes += 1;
  });
  for (const event of events(200)) client.transcripts.hear(ID, event as never);
  expect(changes).toBe(0);
  await frame();
  await frame();
  expect(changes).toBe(1);
  expect(store.getState().transcripts[ID]?.sequence_number).toBe(201);
  off();
});
