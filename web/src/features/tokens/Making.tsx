import { type FormEvent, useState } from "react";
import type { NewToken } from "~/core/api.gen";
import { Button } from "~/ui/Button";
import styles from "./Tokens.module.css";

const LASTS = [
  { value: "30", label: "30 days" },
  { value: "90", label: "90 days" },
  { value: "365", label: "a year" },
  { value: "", label: "until revoked" },
];
const RIGHTS = [
  { value: "read write", label: "read and ask" },
  { value: "read", label: "only read" },
];
const NAME_CHARACTERS_MAX = 100;

/** Makes a token: what it is for, what it may do, how long it lasts. */
export function Making({ busy, onMake }: { busy: boolean; onMake: (wanted: NewToken) => void }) {
  const [name, setName] = useState("");
  const [rights, setRights] = useState("read write");
  const [days, setDays] = useState("90");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const scopes = rights.split(" ") as NewToken["scopes"];
    onMake({ name: name.trim(), scopes, days: days ? Number(days) : null });
  };
  return (
    <form className={styles.form} onSubmit={submit}>
      <label className={styles.wide}>
        What is it for?
        <input
          ref={(field) => field?.setAttribute("autofocus", "")}
          value={name}
          maxLength={NAME_CHARACTERS_MAX}
          placeholder="e.g. my laptop"
          onChange={(event) => setName(event.target.value)}
        />
      </label>
      <Choice label="It may" value={rights} options={RIGHTS} onChange={setRights} />
      <Choice label="It lasts" value={days} options={LASTS} onChange={setDays} />
      <Button tone="primary" type="submit" disabled={busy || name.trim() === ""}>
        Make token
      </Button>
    </form>
  );
}

interface ChoiceProps {
  label: string;
  value: string;
  options: readonly { value: string; label: string }[];
  onChange: (value: string) => void;
}

function Choice({ label, value, options, onChange }: ChoiceProps) {
  return (
    <label>
      {label}
      <select value={value} onChange={(event) => onChange(event.target.value)}>
        {options.map((option) => (
          <option key={option.value} value={option.value}>
            {option.label}
          </option>
        ))}
      </select>
    </label>
  );
}
