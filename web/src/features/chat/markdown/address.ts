/** What a model may link to or show: its output is untrusted. */

const LINKS = new Set(["http:", "https:", "mailto:", "tel:"]);
const PICTURE = /^data:image\/(?:png|jpeg|gif|webp|avif);base64,/i;

/** Returns a link's address, or "" when it may lead somewhere unexpected. */
export function safeAddress(address: string): string {
  if (PICTURE.test(address)) return address;
  if (address.startsWith("#")) return address;
  try {
    return LINKS.has(new URL(address).protocol) ? address : "";
  } catch {
    return "";
  }
}

/** Says whether a picture stands in the text itself: nothing is fetched to show it. */
export function isInline(address: string): boolean {
  return PICTURE.test(address);
}

/** Says whether an address leads to another server over a connection that nobody reads along. */
export function isSecure(address: string): boolean {
  return /^https:\/\//i.test(address);
}

/** Returns the name of the server an address leads to, for a person to read. */
export function hostOf(address: string): string {
  try {
    return new URL(address).hostname.replace(/^www\./, "");
  } catch {
    return "";
  }
}
