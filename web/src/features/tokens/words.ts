/** What there is to say of a token, in one line. */

import type { Token } from "~/core/api.gen";

type Facts = Pick<Token, "scopes" | "created_at" | "expires_at" | "used_at">;

const day = (at: string) =>
  new Date(at).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });

export function facts(token: Facts, now: Date): string {
  const { scopes, created_at, expires_at, used_at } = token;
  const over = expires_at !== null && new Date(expires_at) <= now;
  return [
    rightsOf(scopes),
    `made ${day(created_at)}`,
    used_at ? `last used ${day(used_at)}` : "never used",
    expires_at && `${over ? "ended" : "ends"} ${day(expires_at)}`,
  ]
    .filter(Boolean)
    .join(" · ");
}

function rightsOf(scopes: Facts["scopes"]): string {
  if (scopes.includes("admin")) return "everything";
  return scopes.includes("write") ? "reads and asks" : "only reads";
}
