import type { ButtonHTMLAttributes, ReactNode, Ref } from "react";
import styles from "./Button.module.css";
import { Icon, type IconName } from "./icons";
import { join } from "./join";

type Native = Omit<ButtonHTMLAttributes<HTMLButtonElement>, "children">;

export interface ButtonProps extends Native {
  tone?: "plain" | "primary" | "quiet" | "danger";
  icon?: IconName;
  children: ReactNode;
  ref?: Ref<HTMLButtonElement>;
}

/** A button with words. */
export function Button({ tone = "plain", icon, children, className, ...rest }: ButtonProps) {
  return (
    <button type="button" className={join(styles.button, styles[tone], className)} {...rest}>
      {icon && <Icon name={icon} size={16} />}
      {children}
    </button>
  );
}

export interface IconButtonProps extends Native {
  label: string;
  icon: IconName | ReactNode;
  hint?: string;
  small?: boolean;
  tone?: "quiet" | "primary";
  tooltip?: boolean;
  ref?: Ref<HTMLButtonElement>;
}

/** A button that is only an icon: `label` names it, and is shown by `Tooltips` with `hint` (keys). */
export function IconButton(props: IconButtonProps) {
  const { label, icon, hint, small, tone = "quiet", tooltip = true, className, ...rest } = props;
  return (
    <button
      type="button"
      aria-label={label}
      data-tooltip={tooltip ? label : undefined}
      data-hint={hint}
      className={join(styles.icon, small && styles.small, styles[tone], className)}
      {...rest}
    >
      {typeof icon === "string" ? <Icon name={icon as IconName} size={small ? 16 : 18} /> : icon}
    </button>
  );
}
