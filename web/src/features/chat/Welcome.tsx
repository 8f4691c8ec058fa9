import type { Agent } from "~/core/types";
import { Icon } from "~/ui/icons";
import { Skeleton } from "~/ui/Skeleton";
import styles from "./Welcome.module.css";

interface WelcomeProps {
  agent: Agent | undefined;
  loading: boolean;
  onAsk: (question: string) => void;
}

const EXAMPLES_MAX = 4;

/** What a new chat begins with: who answers, and questions to try. */
export function Welcome({ agent, loading, onAsk }: WelcomeProps) {
  if (!agent) {
    return (
      <div className={styles.welcome}>
        {loading ? <Skeleton label="Loading" lines={2} /> : <h1>No agent can be asked now</h1>}
      </div>
    );
  }
  return (
    <div className={styles.welcome}>
      <h1 className={styles.title}>What would you like to know?</h1>
      <p className={styles.about}>
        <strong>{agent.name}</strong>
        {agent.description && <> · {agent.description}</>}
      </p>
      {agent.examples.length > 0 && (
        <ul className={styles.examples} aria-label="Examples">
          {agent.examples.slice(0, EXAMPLES_MAX).map((example) => (
            <li key={example}>
              <button type="button" className={styles.example} onClick={() => onAsk(example)}>
                <span>{example}</span>
                <Icon name="forward" size={16} />
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
