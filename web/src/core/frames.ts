/** The data of server-sent events, one by one, from the bytes of a response.
 *
 * The parser is fetched when it is needed: most pages have a WebSocket and never do. */

export async function* framesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const { EventSourceParserStream } = await import("eventsource-parser/stream");
  const frames = body
    .pipeThrough(new TextDecoderStream() as unknown as TransformStream<Uint8Array, string>)
    .pipeThrough(new EventSourceParserStream())
    .getReader();
  try {
    for (let read = await frames.read(); !read.done; read = await frames.read()) {
      yield read.value.data;
    }
  } finally {
    await frames.cancel().catch(() => {});
  }
}
