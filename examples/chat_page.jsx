// A page with a chat whose answers outlast it. For Next.js see next_page.jsx and next.config.mjs.
import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";
import React, { useEffect, useState } from "react";

const api = "/api/chat";

export default function ChatPage({ id, base = "" }) {
  const [messages, setMessages] = useState(null);
  useEffect(() => {
    // What the server knows, an answer in progress included; a new chat has nothing yet.
    fetch(`${base}${api}/${id}`)
      .then((answer) => (answer.ok ? answer.json() : { messages: [] }))
      .then((known) => setMessages(known.messages));
  }, [id, base]);
  return messages && <Chat key={id} id={id} base={base} messages={messages} />;
}

function Chat({ id, base, messages: known }) {
  const transport = new DefaultChatTransport({ api: base + api });
  const chat = useChat({ id, messages: known, resume: true, transport });
  const [text, setText] = useState("");
  const busy = chat.status === "submitted" || chat.status === "streaming";
  const send = (event) => {
    event.preventDefault();
    chat.sendMessage({ text });
    setText("");
  };
  // The client's own stop() only disconnects: this one stops the answer.
  const stop = () => fetch(`${base}${api}/${id}/stop`, { method: "POST" });
  return (
    <main>
      {chat.messages.map((message) => (
        <p key={message.id} className={message.role}>
          {message.parts.map((part) => part.text ?? "").join("")}
        </p>
      ))}
      {chat.error && <p role="alert">{chat.error.message}</p>}
      <form onSubmit={send}>
        <input value={text} onChange={(event) => setText(event.target.value)} />
        <button type="submit">Send</button>
        {busy && (
          <button type="button" onClick={stop}>
            Stop
          </button>
        )}
      </form>
    </main>
  );
}
