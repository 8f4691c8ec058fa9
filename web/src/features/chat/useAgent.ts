import { useState } from "react";
import type { Agent, Chat } from "~/core/types";
import { useAgents } from "~/hooks";

const KEPT = "perdure.agent";

interface Choice {
  agents: readonly Agent[];
  agent: Agent | undefined;
  loading: boolean;
  choose: (id: string) => void;
}

/** Returns who answers: the chat's agent; in a new chat the one last chosen, else the default. */
export function useAgent(chat: Chat | null): Choice {
  const { agents, default_agent_id, loading } = useAgents();
  const [chosen, setChosen] = useState(() => localStorage.getItem(KEPT) ?? "");
  const byId = (id: string) => agents.find((one) => one.id === id);
  const agent = chat
    ? (byId(chat.agent_id) ?? gone(chat.agent_id))
    : (byId(chosen) ?? byId(default_agent_id));
  const choose = (id: string) => {
    localStorage.setItem(KEPT, id);
    setChosen(id);
  };
  return { agents, agent, loading, choose };
}

/** An agent that is not configured any more still has a name. */
function gone(id: string): Agent {
  return { id, name: id, description: "", examples: [] };
}
