import { type FormEvent, type ReactNode, useState } from "react";
import { session, useSession } from "~/hooks/session";
import { Button } from "~/ui/Button";
import styles from "./SignIn.module.css";

/** Shows the page to who is signed in; to anybody else a way in, over what is being written. */
export function Door({ children }: { children: ReactNode }) {
  const { signed_out, begun } = useSession();
  return (
    <>
      {(begun || !session.ours) && <div inert={signed_out}>{children}</div>}
      {signed_out && <SignIn again={begun} />}
    </>
  );
}

function SignIn({ again }: { again: boolean }) {
  const { problem } = useSession();
  return (
    <div className={again ? styles.over : styles.page}>
      <div className={styles.card} role="dialog" aria-modal aria-labelledby="sign-in">
        <h1 id="sign-in" className={styles.title}>
          {again ? "Your session has ended" : "Sign in"}
        </h1>
        {again && (
          <p className={styles.words}>
            What you have written is kept, and answers go on without you. Sign in again to see them.
          </p>
        )}
        {session.mode === "oidc" ? <Provider /> : <TokenForm />}
        {problem && (
          <p className={styles.problem} role="alert">
            {problem}
          </p>
        )}
      </div>
    </div>
  );
}

function Provider() {
  return (
    <Button tone="primary" autoFocus onClick={() => session.login()}>
      Sign in
    </Button>
  );
}

function TokenForm() {
  const { busy } = useSession();
  const [token, setToken] = useState("");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void session.signIn(token.trim());
  };
  return (
    <form className={styles.form} onSubmit={submit}>
      <label className={styles.label} htmlFor="token">
        Your token
      </label>
      <input
        id="token"
        className={styles.input}
        type="password"
        autoComplete="current-password"
        spellCheck={false}
        // biome-ignore lint/a11y/noAutofocus: there is nothing else on this screen
        autoFocus
        value={token}
        onChange={(event) => setToken(event.target.value)}
      />
      <Button tone="primary" type="submit" disabled={busy || token.trim() === ""}>
        Sign in
      </Button>
      <p className={styles.words}>Whoever looks after this server makes one for you.</p>
    </form>
  );
}
