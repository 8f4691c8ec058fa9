/** Says whether a key belongs to an input method that is composing a word.
 *
 * Safari ends the composition before it tells the key that ended it: that one is known by its code. */
export function isComposing(event: KeyboardEvent): boolean {
  return event.isComposing || event.keyCode === 229;
}
