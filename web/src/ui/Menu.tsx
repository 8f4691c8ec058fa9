import { DropdownMenu } from "radix-ui";
import type { ReactNode } from "react";
import { Icon, type IconName } from "./icons";
import { join } from "./join";
import styles from "./Menu.module.css";

interface MenuProps {
  trigger: ReactNode;
  align?: "start" | "end";
  side?: "top" | "bottom";
  onCloseAutoFocus?: (event: Event) => void;
  children: ReactNode;
}

/** A menu below its trigger. Not modal: the page behind it keeps scrolling and streaming. */
export function Menu({ trigger, align = "end", side = "bottom", ...rest }: MenuProps) {
  return (
    <DropdownMenu.Root modal={false}>
      <DropdownMenu.Trigger asChild>{trigger}</DropdownMenu.Trigger>
      <DropdownMenu.Portal>
        <DropdownMenu.Content
          className={styles.menu}
          align={align}
          side={side}
          sideOffset={6}
          collisionPadding={8}
          {...rest}
        />
      </DropdownMenu.Portal>
    </DropdownMenu.Root>
  );
}

interface MenuItemProps {
  icon?: IconName;
  danger?: boolean;
  disabled?: boolean;
  hint?: string;
  onSelect: () => void;
  children: ReactNode;
}

/** One thing to do. */
export function MenuItem({ icon, danger, hint, children, ...rest }: MenuItemProps) {
  return (
    <DropdownMenu.Item className={join(styles.item, danger && styles.danger)} {...rest}>
      {icon && <Icon name={icon} size={16} />}
      <span className={styles.label}>{children}</span>
      {hint && <span className={styles.hint}>{hint}</span>}
    </DropdownMenu.Item>
  );
}

interface MenuChoiceProps {
  checked: boolean;
  onSelect: () => void;
  detail?: string;
  children: ReactNode;
}

/** One of several things to be; the chosen one has a tick. */
export function MenuChoice({ checked, onSelect, detail, children }: MenuChoiceProps) {
  return (
    <DropdownMenu.CheckboxItem className={styles.item} checked={checked} onSelect={onSelect}>
      <span className={styles.label}>
        {children}
        {detail && <span className={styles.detail}>{detail}</span>}
      </span>
      <span className={styles.tick}>{checked && <Icon name="check" size={16} />}</span>
    </DropdownMenu.CheckboxItem>
  );
}

/** A line between groups. */
export function MenuLine() {
  return <DropdownMenu.Separator className={styles.line} />;
}
