import { at } from "~/core/root";
import type { Preferences } from "~/core/types";
import { actions, useConfig, useMe, usePreferences } from "~/hooks";
import { Dialog } from "~/ui/Dialog";
import { Segmented } from "~/ui/Segmented";
import { Switch } from "~/ui/Switch";
import { askToNotify, notifiable } from "./notifying";
import styles from "./Settings.module.css";

const THEMES: readonly { value: Preferences["theme"]; label: string }[] = [
  { value: "system", label: "System" },
  { value: "light", label: "Light" },
  { value: "dark", label: "Dark" },
];
const KEYS = [
  { value: "enter", label: "Enter" },
  { value: "shift", label: "Shift + Enter" },
] as const;

/** What a person may set, kept in this browser. */
export default function SettingsDialog({ onClose }: { onClose: () => void }) {
  const { theme, enter_sends, notifications, sound, remote_images } = usePreferences();
  const pictures = useConfig()?.ui.remote_images === true;
  const set = actions.setPreferences;
  const setNotifications = async (wanted: boolean) =>
    set({ notifications: wanted && (await askToNotify()) });
  return (
    <Dialog open title="Settings" onClose={onClose}>
      <div className={styles.settings}>
        <Segmented
          label="Theme"
          value={theme}
          options={THEMES}
          onChange={(value) => set({ theme: value })}
        />
        <Segmented
          label="Send with"
          detail="The other one breaks the line."
          value={enter_sends ? "enter" : "shift"}
          options={KEYS}
          onChange={(value) => set({ enter_sends: value === "enter" })}
        />
        <Switch
          label="Browser notifications"
          detail={
            notifiable()
              ? "When an answer ends while you look elsewhere."
              : "This browser, or its settings for this page, does not allow them."
          }
          checked={notifications && notifiable()}
          disabled={!notifiable()}
          onChange={(wanted) => void setNotifications(wanted)}
        />
        <Switch
          label="Sound"
          detail="A soft tone when an answer ends out of sight."
          checked={sound}
          onChange={(wanted) => set({ sound: wanted })}
        />
        <Switch
          label="Remote images"
          detail={
            pictures
              ? "Load pictures in answers from their servers, which then see your address."
              : "Pictures of other servers are links here: this server lets none in."
          }
          checked={remote_images && pictures}
          disabled={!pictures}
          onChange={(wanted) => set({ remote_images: wanted })}
        />
      </div>
      <About />
    </Dialog>
  );
}

function About() {
  const config = useConfig();
  const me = useMe();
  if (!config) return null;
  return (
    <p className={styles.about}>
      {config.ui.name} {config.version}
      {me && config.auth_mode !== "none" && <> · signed in as {me.display}</>}
      {" · "}
      <a href={at("/docs")} target="_blank" rel="noopener">
        API
      </a>
    </p>
  );
}
