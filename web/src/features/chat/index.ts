/** The conversation: what was said in a chat and where to say more. */

export { Conversation } from "./Conversation";
