/** Whether one is signed in, where the server asks for that. Signing in reloads the page: drafts and
 * questions on their way stay in the browser, and are those of the person who comes back. */

import { createStore } from "zustand/vanilla";
import { forgetWords, samePerson } from "./keep";
import { at } from "./root";

export interface SessionState {
  /** The server does not, or no longer, know who calls. */
  signed_out: boolean;
  /** The page was in use before that. */
  begun: boolean;
  problem: string | null;
  busy: boolean;
}

/** What the browser does for a session. */
export interface Ground {
  fetch: typeof fetch;
  /** `none` and `proxy` know no signing in here. */
  mode: string;
  /** The path on the screen. */
  path(): string;
  go(url: string): void;
  /** Marks that survive a reload of this tab only. */
  marks: Pick<Storage, "getItem" | "setItem" | "removeItem">;
}

const LEFT = "perdure.left";

export class Session {
  readonly state = createStore<SessionState>(() => ({
    signed_out: false,
    begun: false,
    problem: null,
    busy: false,
  }));

  constructor(private readonly ground: Ground) {}

  get mode(): string {
    return this.ground.mode;
  }

  /** Whether people sign in and out on this page. */
  get ours(): boolean {
    return this.mode === "token" || this.mode === "oidc";
  }

  /** A `fetch` that notices when the server no longer knows who calls. */
  readonly watched: typeof fetch = async (...given) => {
    const response = await this.ground.fetch(...given);
    if (response.status === 401 && this.ours) this.state.setState({ signed_out: true });
    return response;
  };

  /** Call `start` once it is known who is there; else wait for somebody to sign in. */
  async begin(start: () => void): Promise<void> {
    if (this.ours && !(await this.known())) {
      this.state.setState({ signed_out: true });
      if (this.mode === "oidc" && !this.ground.marks.getItem(LEFT)) this.login();
      return;
    }
    this.ground.marks.removeItem(LEFT);
    this.state.setState({ begun: true });
    start();
  }

  /** Go to the provider, and come back to what is on the screen. */
  login(): void {
    this.ground.marks.removeItem(LEFT);
    this.ground.go(at(`/auth/login?next=${encodeURIComponent(this.ground.path())}`));
  }

  /** Sign in with a token. */
  async signIn(token: string): Promise<void> {
    this.state.setState({ busy: true, problem: null });
    const body = JSON.stringify({ token });
    const problem = await this.told("POST", body).then(
      (response) => (response.ok ? null : problemOf(response)),
      () => "The server cannot be reached.",
    );
    this.state.setState({ busy: false, problem });
    if (problem === null) this.ground.go(this.ground.path());
  }

  /** Sign out, here and where one signed in; nothing that was written stays in this browser. */
  async signOut(): Promise<void> {
    const response = await this.told("DELETE").catch(() => null);
    const { redirect } = (await response?.json().catch(() => null)) ?? { redirect: at("/") };
    forgetWords();
    this.ground.marks.setItem(LEFT, "1");
    this.ground.go(redirect);
  }

  /** Whether somebody is signed in; what another person wrote in this browser is forgotten. */
  private async known(): Promise<boolean> {
    try {
      const session = await (await this.ground.fetch("/api/session")).json();
      if (!session.signed_in) return false;
      const me = await (await this.ground.fetch("/api/me")).json();
      samePerson(me.user_id);
      return true;
    } catch {
      return true; // the page tells by itself how the connection stands
    }
  }

  private told(method: string, body?: string): Promise<Response> {
    const headers: HeadersInit = body ? { "Content-Type": "application/json" } : {};
    return this.ground.fetch("/api/session", { method, headers, ...(body ? { body } : {}) });
  }
}

async function problemOf(response: Response): Promise<string> {
  const given = await response.json().catch(() => null);
  return given?.detail ?? `The server answered with an error (${response.status}).`;
}
