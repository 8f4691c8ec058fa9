import { usePreferences } from "~/hooks";
import { Dialog } from "~/ui/Dialog";
import styles from "./Help.module.css";
import { isApple, keysOf, SHORTCUTS } from "./shortcuts";

/** The sheet with the keys. */
export default function HelpSheet({ onClose }: { onClose: () => void }) {
  const { enter_sends } = usePreferences();
  const apple = isApple();
  return (
    <Dialog open title="Keyboard shortcuts" onClose={onClose}>
      {SHORTCUTS.map(({ title, rows }) => (
        <section key={title} className={styles.group}>
          <h3 className={styles.title}>{title}</h3>
          <dl>
            {rows.map(({ what, keys }) => (
              <div key={what} className={styles.row}>
                <dt>{what}</dt>
                <dd className={styles.keys}>
                  {keysOf(keys, { apple, enter_sends }).map((key) => (
                    <kbd key={key}>{key}</kbd>
                  ))}
                </dd>
              </div>
            ))}
          </dl>
        </section>
      ))}
    </Dialog>
  );
}
