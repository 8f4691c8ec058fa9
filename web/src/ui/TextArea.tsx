import { type KeyboardEvent, type Ref, useId } from "react";
import styles from "./TextArea.module.css";

interface TextAreaProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  onKeyDown?: (event: KeyboardEvent<HTMLTextAreaElement>) => void;
  rows?: number;
  maxLength?: number;
  /** The label is only for screen readers. */
  bare?: boolean;
  ref?: Ref<HTMLTextAreaElement>;
}

/** A field for some lines of text that grows with them. */
export function TextArea({ label, value, onChange, bare = false, ...rest }: TextAreaProps) {
  const id = useId();
  return (
    <div className={styles.field}>
      {!bare && (
        <label htmlFor={id} className={styles.label}>
          {label}
        </label>
      )}
      <textarea
        id={id}
        className={styles.area}
        aria-label={bare ? label : undefined}
        value={value}
        onChange={(event) => onChange(event.target.value)}
        {...rest}
      />
    </div>
  );
}
