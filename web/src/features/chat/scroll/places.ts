/** Where a person was in each chat, while the page lives; at the end is the rule, and not kept. */

export interface Place {
  /** Pixels above what is in view. */
  top: number;
  /** The first message that was shown. */
  floor: number;
}

const places = new Map<string, Place>();

export function keepPlace(chatId: string, place: Place | null): void {
  if (place === null) places.delete(chatId);
  else places.set(chatId, place);
}

export function placeIn(chatId: string | null): Place | null {
  return (chatId !== null && places.get(chatId)) || null;
}
