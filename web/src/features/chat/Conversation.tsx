import { useCallback, useEffect, useRef } from "react";
import { actions, useChat, useDraft } from "~/hooks";
import { AgentPicker } from "./AgentPicker";
import { Blank } from "./Blank";
import styles from "./Conversation.module.css";
import { Composer } from "./composer/Composer";
import { QueueChips } from "./composer/QueueChips";
import { Header } from "./Header";
import { Log } from "./Log";
import { StatusRegion } from "./StatusRegion";
import { useAgent } from "./useAgent";
import { Welcome } from "./Welcome";

/** One chat, or with null a new one: what was said and where to say more. */
export function Conversation({ chatId }: { chatId: string | null }) {
  const view = useChat(chatId);
  const [draft, setDraft] = useDraft(chatId);
  const { agent, agents, loading, choose } = useAgent(view.chat);
  const field = useRef<HTMLTextAreaElement>(null);
  useFocus(field);
  const { messages, outgoing, queued, active_request_id: active } = view;
  const fresh = chatId === null && outgoing.length === 0;
  const agentId = agent?.id ?? null;
  const send = useCallback(
    (content: string, now: boolean) => {
      const question = { chat_id: chatId, content, agent_id: chatId ? null : agentId };
      actions.send(now ? { ...question, if_busy: "interrupt" } : question);
      setDraft("");
    },
    [chatId, agentId, setDraft],
  );
  const takeBack = (text: string) => {
    setDraft(draft.trim() ? `${text}\n\n${draft}` : text);
    field.current?.focus();
  };
  if (chatId !== null && view.load !== "ready") {
    return <Blank chatId={chatId} load={view.load} problem={view.problem} />;
  }
  const name = agent?.name ?? "";
  return (
    <div className={styles.conversation}>
      {view.chat && <Header chat={view.chat} agent={name} />}
      {fresh ? (
        <div className={styles.welcome}>
          <Welcome agent={agent} loading={loading} onAsk={(text) => send(text, false)} />
        </div>
      ) : (
        <Log
          chatId={chatId}
          agent={name}
          messages={messages}
          outgoing={outgoing}
          busy={active !== null}
          onTakeBack={takeBack}
        />
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
          {chatId === null && <AgentPicker agents={agents} chosen={agent} onChoose={choose} />}
        </Composer>
      </footer>
      <StatusRegion requestId={messages.at(-1)?.request_id ?? null} />
    </div>
  );
}

/** Puts the focus where one writes, unless that would bring up a keyboard on the screen. */
function useFocus(field: { current: HTMLTextAreaElement | null }): void {
  useEffect(() => {
    if (matchMedia("(hover: hover)").matches) field.current?.focus({ preventScroll: true });
  }, [field]);
}
