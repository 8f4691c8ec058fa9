import { lazy, Suspense, useCallback, useEffect, useRef } from "react";
import type { ChatView } from "~/core/types";
import { actions, useChat, useDraft } from "~/hooks";
import { join } from "~/ui/join";
import { AgentPicker } from "./AgentPicker";
import { Blank } from "./Blank";
import styles from "./Conversation.module.css";
import { Composer } from "./composer/Composer";
import { QueueChips } from "./composer/QueueChips";
import { Header } from "./Header";
import { StatusRegion } from "./StatusRegion";
import { useAgent } from "./useAgent";
import { Welcome } from "./Welcome";

// All that shows answers is half of the page, and the first screen needs none of it: it is fetched
// at once, beside the first chat's messages, but nobody has to wait for it to write.
const fetching = import("./Log");
const Log = lazy(async () => ({ default: (await fetching).Log }));

/** One chat, or with null a new one: what was said and where to say more. */
export function Conversation({ chatId }: { chatId: string | null }) {
  const view = useChat(chatId);
  const { agent } = useAgent(chatId, view.chat);
  const fresh = chatId === null && view.outgoing.length === 0;
  return (
    <div className={join(styles.conversation, fresh && styles.fresh)}>
      {!fresh && <Header chat={view.chat} fresh={chatId === null} agent={agent?.name ?? ""} />}
      {chatId !== null && view.load !== "ready" ? (
        <Blank chatId={chatId} load={view.load} problem={view.problem} />
      ) : (
        <Talk chatId={chatId} view={view} />
      )}
    </div>
  );
}

interface TalkProps {
  chatId: string | null;
  view: ChatView;
}

function Talk({ chatId, view }: TalkProps) {
  const { messages, outgoing, queued, active_request_id: active } = view;
  const { agent, agents, loading, choose } = useAgent(chatId, view.chat);
  const [draft, setDraft] = useDraft(chatId);
  const field = useRef<HTMLTextAreaElement>(null);
  useFocus(field);
  const send = useSend(chatId, agent?.id ?? null, setDraft);
  const takeBack = (text: string) => {
    setDraft(draft.trim() ? `${text}\n\n${draft}` : text);
    field.current?.focus();
  };
  const name = agent?.name ?? "";
  const fresh = chatId === null && outgoing.length === 0;
  return (
    <>
      {fresh ? (
        <div className={styles.welcome}>
          <Welcome agent={agent} loading={loading} onAsk={(text) => send(text, false)} />
        </div>
      ) : (
        <Suspense fallback={<div className={styles.welcome} />}>
          <Log
            {...{ chatId, messages, outgoing }}
            agent={name}
            busy={!!active}
            onTakeBack={takeBack}
          />
        </Suspense>
      )}
      <footer className={styles.foot}>
        <QueueChips queued={queued} />
        <Composer
          field={field}
          placeholder={name ? `Message ${name}` : "Message"}
          text={draft}
          busy={active !== null}
          onText={setDraft}
          onSend={send}
          onStop={() => active && void actions.stop(active)}
        >
          {fresh && <AgentPicker agents={agents} chosen={agent} onChoose={choose} />}
        </Composer>
      </footer>
      <StatusRegion requestId={messages.at(-1)?.request_id ?? null} />
    </>
  );
}

type Send = (content: string, now: boolean) => void;

/** Returns what asks a question; `now` does not wait for the answer that runs. */
function useSend(
  chatId: string | null,
  agentId: string | null,
  setDraft: (text: string) => void,
): Send {
  return useCallback(
    (content, now) => {
      const question = { chat_id: chatId, content, agent_id: chatId ? null : agentId };
      actions.send(now ? { ...question, if_busy: "interrupt" } : question);
      setDraft("");
    },
    [chatId, agentId, setDraft],
  );
}

/** Puts the focus where one writes, unless that would bring up a keyboard on the screen. */
function useFocus(field: { current: HTMLTextAreaElement | null }): void {
  useEffect(() => {
    if (matchMedia("(hover: hover)").matches) field.current?.focus({ preventScroll: true });
  }, [field]);
}
