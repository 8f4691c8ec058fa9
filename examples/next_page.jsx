"use client";
// The page of `chat_page.jsx` in Next.js: this file as app/chat/[id]/page.jsx, that one beside it.
import React, { use } from "react";
import ChatPage from "./chat_page.jsx";

export default function Page({ params }) {
  const { id } = use(params);
  return <ChatPage id={id} />;
}
