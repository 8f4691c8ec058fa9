/** A chat's message tree as the conversation shows it: the active branch, its alternatives, and
 * the questions that wait. Pure. */

import type { MessageTree } from "./api.gen";
import { isTerminal } from "./fold";
import type { Tree } from "./state";
import type {
  BranchMessage,
  Chat,
  ChatView,
  MessageNode,
  Outgoing,
  QueuedQuestion,
  Status,
} from "./types";

type StatusOf = (request_id: string | null) => Status;

export function treeOf(sent: MessageTree): Tree {
  const nodes: Record<string, MessageNode> = {};
  for (const message of sent.messages) {
    nodes[message.id] = {
      id: message.id,
      chat_id: message.chat_id,
      parent_id: message.parent_id,
      role: message.role as MessageNode["role"],
      content: message.content,
      created_at: message.created_at,
      request_id: message.request_id,
    };
  }
  return { load: "ready", problem: null, nodes, current: sent.current_message_id };
}

/** The nodes from the first message to the active leaf. */
export function branchOf(tree: Tree): MessageNode[] {
  const branch: MessageNode[] = [];
  const met = new Set<string>();
  let node = tree.current ? tree.nodes[tree.current] : undefined;
  while (node && !met.has(node.id)) {
    met.add(node.id);
    branch.push(node);
    node = node.parent_id ? tree.nodes[node.parent_id] : undefined;
  }
  return branch.reverse();
}

/** The newest leaf below a message: what is shown when that branch is chosen. */
export function leafBelow(tree: Tree, message_id: string): string {
  const children = childrenOf(tree);
  let leaf = message_id;
  for (let below = children.get(leaf); below; below = children.get(leaf)) {
    leaf = below[below.length - 1] as string;
  }
  return leaf;
}

function childrenOf(tree: Tree): Map<string | null, string[]> {
  const children = new Map<string | null, string[]>();
  for (const node of inOrder(tree)) {
    const known = children.get(node.parent_id);
    if (known) known.push(node.id);
    else children.set(node.parent_id, [node.id]);
  }
  return children;
}

function inOrder(tree: Tree): MessageNode[] {
  return Object.values(tree.nodes).sort((a, b) => a.created_at.localeCompare(b.created_at));
}

/** Ids of a tree's answers that have not ended, as far as is known. */
export function unfinished(tree: Tree, status: StatusOf): string[] {
  return answers(tree).filter((id) => !isTerminal(status(id)));
}

function answers(tree: Tree): string[] {
  return Object.values(tree.nodes).flatMap((node) =>
    node.role === "assistant" && node.request_id ? [node.request_id] : [],
  );
}

export interface Shown {
  chat: Chat | null;
  tree: Tree;
  outgoing: readonly Outgoing[];
  status: StatusOf;
}

export function viewOf({ chat, tree, outgoing, status }: Shown): ChatView {
  const whole = branchOf(tree);
  const { sent, queued } = parted(whole, status);
  const siblings = childrenOf(tree);
  const messages: BranchMessage[] = cut(sent, outgoing).map((node) => ({
    ...node,
    siblings: siblings.get(node.parent_id)?.filter(sameRole(tree, node)) ?? [node.id],
  }));
  return {
    chat,
    load: tree.load,
    problem: tree.problem,
    messages,
    queued,
    outgoing,
    active_request_id: activeIn(tree, status),
  };
}

function sameRole(tree: Tree, node: MessageNode): (id: string) => boolean {
  return (id) => tree.nodes[id]?.role === node.role;
}

/** Part a branch into what was sent and the questions that wait for it. */
function parted(
  branch: MessageNode[],
  status: StatusOf,
): { sent: MessageNode[]; queued: QueuedQuestion[] } {
  const busy = branch.findIndex(
    (node) => node.role === "assistant" && node.request_id && !isTerminal(status(node.request_id)),
  );
  const sent = busy < 0 ? branch : branch.slice(0, busy + 1);
  const later = branch.slice(sent.length);
  const queued = later.flatMap((node, at): QueuedQuestion[] => {
    const answer = later[at + 1];
    if (node.role !== "user" || !answer?.request_id) return [];
    const { id: message_id, content } = node;
    return [{ message_id, request_id: answer.request_id, content, first: at === 0 }];
  });
  return { sent, queued };
}

/** An edited question takes the place of everything from the one it replaces. */
function cut(sent: MessageNode[], outgoing: readonly Outgoing[]): MessageNode[] {
  const edit = outgoing.find((one) => one.from_root || one.parent_id);
  if (!edit) return sent;
  if (edit.from_root) return [];
  const parent = sent.findIndex((node) => node.id === edit.parent_id);
  return parent < 0 ? sent : sent.slice(0, parent + 1);
}

/** The request to stop on the active branch: what runs, else what waits first; null = idle. */
export function activeIn(tree: Tree, status: StatusOf): string | null {
  const open = branchOf(tree).filter(
    (node) => node.role === "assistant" && node.request_id && !isTerminal(status(node.request_id)),
  );
  const running = open.find((node) => status(node.request_id) === "streaming");
  return (running ?? open[0])?.request_id ?? null;
}

/** Whether what a chat says of itself contradicts its tree: then the tree is read again. */
export function contradicts(chat: Chat, tree: Tree, status: StatusOf): boolean {
  if (tree.load !== "ready") return false;
  if (chat.current_message_id && !tree.nodes[chat.current_message_id]) return true;
  const open = unfinished(tree, status);
  const running = chat.running_request_id;
  if (running && !open.includes(running)) return true;
  return open.length !== chat.queued + (running ? 1 : 0);
}
