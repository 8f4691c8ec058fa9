/** Where a person was in each chat, while the page lives; at the end is the rule, and not kept. */

const places = new Map<string, number>();

export function keepPlace(chatId: string, top: number | null): void {
  if (top === null) places.delete(chatId);
  else places.set(chatId, top);
}

export function placeIn(chatId: string): number | null {
  return places.get(chatId) ?? null;
}
