import { Tooltip as Radix } from "radix-ui";
import type { ReactNode } from "react";
import styles from "./Tooltip.module.css";

/** Makes tooltips possible below it; one around the whole page. */
export function TooltipProvider({ children }: { children: ReactNode }) {
  return (
    <Radix.Provider delayDuration={500} skipDelayDuration={300}>
      {children}
    </Radix.Provider>
  );
}

interface TooltipProps {
  text: string;
  hint?: string | undefined;
  children: ReactNode;
}

/** Shows what a control is called, and its keys, on hover and on focus. */
export function Tooltip({ text, hint, children }: TooltipProps) {
  return (
    <Radix.Root disableHoverableContent>
      <Radix.Trigger asChild>{children}</Radix.Trigger>
      <Radix.Portal>
        <Radix.Content className={styles.tooltip} sideOffset={6} collisionPadding={8}>
          {text}
          {hint && <span className={styles.hint}>{hint}</span>}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
