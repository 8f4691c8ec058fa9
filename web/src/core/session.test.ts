import { beforeEach, describe, expect, it } from "vitest";
import { keepDraft, keepOutgoing, loadDraft, loadOutgoing } from "./keep";
import { Session } from "./session";

const answer = (status: number, body: unknown) =>
  new Response(status === 204 ? null : JSON.stringify(body), { status });

function world(mode: string, answers: Record<string, () => Response>) {
  const gone: string[] = [];
  const marks = new Map<string, string>();
  const fetch = async (url: RequestInfo | URL, init?: RequestInit) =>
    answers[`${init?.method ?? "GET"} ${url}`]?.() ?? answer(404, {});
  const session = new Session({
    fetch: fetch as typeof globalThis.fetch,
    mode,
    path: () => "/c/chat_1",
    go: (url) => gone.push(url),
    marks: {
      getItem: (key) => marks.get(key) ?? null,
      setItem: (key, value) => void marks.set(key, value),
      removeItem: (key) => void marks.delete(key),
    },
  });
  return { session, gone, marks };
}

const SIGNED_IN = {
  "GET /api/session": () => answer(200, { signed_in: true }),
  "GET /api/me": () => answer(200, { user_id: "ann" }),
};
const SIGNED_OUT = { "GET /api/session": () => answer(200, { signed_in: false }) };

beforeEach(() => localStorage.clear());

describe("a session", () => {
  it("starts at once where the server asks for no signing in", async () => {
    const { session } = world("none", {});
    let started = false;
    void session.begin(() => {
      started = true;
    });
    expect(started).toBe(true);
  });

  it("starts for who is signed in", async () => {
    const { session, gone } = world("oidc", SIGNED_IN);
    await session.begin(() => gone.push("started"));
    expect(gone).toEqual(["started"]);
    expect(session.state.getState().signed_out).toBe(false);
  });

  it("goes to the provider by itself, but not right after leaving", async () => {
    const first = world("oidc", SIGNED_OUT);
    await first.session.begin(() => first.gone.push("started"));
    expect(first.gone).toEqual(["/auth/login?next=%2Fc%2Fchat_1"]);
    const left = world("oidc", SIGNED_OUT);
    left.marks.set("perdure.left", "1");
    await left.session.begin(() => left.gone.push("started"));
    expect(left.gone).toEqual([]);
    expect(left.session.state.getState().signed_out).toBe(true);
  });

  it("notices a 401 and keeps what is being written", async () => {
    const { session } = world("oidc", { ...SIGNED_IN, "GET /api/chats": () => answer(401, {}) });
    await session.begin(() => keepDraft(null, "half a question"));
    await session.watched("/api/chats");
    expect(session.state.getState()).toMatchObject({ signed_out: true, begun: true });
    expect(loadDraft(null)).toBe("half a question");
  });

  it("forgets the words of somebody else, and keeps one's own", async () => {
    localStorage.setItem("perdure.person", "ann");
    keepDraft("chat_1", "mine");
    await world("token", SIGNED_IN).session.begin(() => {});
    expect(loadDraft("chat_1")).toBe("mine");
    localStorage.setItem("perdure.person", "bob");
    keepOutgoing([{ key: "k", content: "his" } as never]);
    await world("token", SIGNED_IN).session.begin(() => {});
    expect(loadDraft("chat_1")).toBe("");
    expect(loadOutgoing()).toEqual([]);
  });

  it("signs in with a token and says when that is wrong", async () => {
    const good = world("token", { "POST /api/session": () => answer(204, null) });
    await good.session.signIn("perdure_tok_x");
    expect(good.gone).toEqual(["/c/chat_1"]);
    const bad = world("token", { "POST /api/session": () => answer(401, { detail: "Unknown." }) });
    await bad.session.signIn("x");
    expect(bad.gone).toEqual([]);
    expect(bad.session.state.getState()).toMatchObject({ problem: "Unknown.", busy: false });
  });

  it("leaves nothing behind when one signs out", async () => {
    const { session, gone, marks } = world("oidc", {
      "DELETE /api/session": () => answer(200, { redirect: "https://id.example/out" }),
    });
    keepDraft(null, "secret");
    await session.signOut();
    expect(gone).toEqual(["https://id.example/out"]);
    expect(loadDraft(null)).toBe("");
    expect(marks.get("perdure.left")).toBe("1");
  });
});
