import {
  createContext,
  type KeyboardEvent,
  type MouseEvent,
  type ReactNode,
  type Ref,
  use,
  useCallback,
  useId,
  useRef,
  useState,
} from "react";
import { type Beside, showBeside } from "./beside";
import { Icon, type IconName } from "./icons";
import { join } from "./join";
import styles from "./Menu.module.css";
import { useMenuEnd } from "./useMenuEnd";

/** What the button of a menu is given. */
export interface MenuButton {
  ref: Ref<HTMLButtonElement>;
  id: string;
  "aria-haspopup": "menu";
  "aria-expanded": boolean;
  onClick: (event: MouseEvent) => void;
}

interface MenuProps extends Partial<Beside> {
  button: (given: MenuButton) => ReactNode;
  children: ReactNode;
}

/** A menu beside its button. Not modal: the page behind it keeps scrolling and streaming. */
export function Menu({ button, side = "bottom", align = "end", children }: MenuProps) {
  const [open, setOpen] = useState<"keys" | "pointer" | null>(null);
  const trigger = useRef<HTMLButtonElement>(null);
  const id = useId();
  const close = useCallback(() => {
    trigger.current?.focus();
    setOpen(null);
  }, []);
  const given: MenuButton = {
    ref: trigger,
    id,
    "aria-haspopup": "menu",
    "aria-expanded": open !== null,
    onClick: ({ detail }) => setOpen(open ? null : detail === 0 ? "keys" : "pointer"),
  };
  return (
    <>
      {button(given)}
      {open && (
        <Panel
          {...{ trigger, side, align, children }}
          byKeys={open === "keys"}
          onClose={close}
          onLeave={() => setOpen(null)}
        />
      )}
    </>
  );
}

interface PanelProps extends Beside {
  trigger: { current: HTMLButtonElement | null };
  byKeys: boolean;
  /** Closes it and gives the focus back. */
  onClose: () => void;
  /** Closes it when the person has gone elsewhere. */
  onLeave: () => void;
  children: ReactNode;
}

const Close = createContext<() => void>(() => {});

function Panel({ trigger, side, align, byKeys, onClose, onLeave, children }: PanelProps) {
  const box = useRef<HTMLDivElement>(null);
  const open = useCallback(
    (panel: HTMLDivElement | null) => {
      box.current = panel;
      if (!panel || !trigger.current) return;
      showBeside(panel, trigger.current, { side, align });
      (byKeys ? itemsOf(panel)[0] : panel)?.focus({ preventScroll: true });
    },
    [trigger, side, align, byKeys],
  );
  useMenuEnd(box, trigger, onLeave);
  const press = (event: KeyboardEvent<HTMLElement>) => {
    if (event.key === "Escape" || event.key === "Tab") onClose();
    else if (!goTo(event.currentTarget, event.key)) return;
    if (event.key !== "Tab") event.preventDefault(); // which goes on from the button
  };
  return (
    <div
      ref={open}
      popover="manual"
      role="menu"
      tabIndex={-1}
      aria-labelledby={trigger.current?.id}
      className={styles.menu}
      onKeyDown={press}
    >
      <Close value={onClose}>{children}</Close>
    </div>
  );
}

function itemsOf(panel: Element): HTMLElement[] {
  return Array.from(panel.querySelectorAll<HTMLElement>("[role^=menuitem]:not(:disabled)"));
}

type Step = (items: HTMLElement[], at: number) => HTMLElement | undefined;

const STEPS: Readonly<Record<string, Step>> = {
  ArrowDown: (items, at) => items[(at + 1) % items.length],
  ArrowUp: (items, at) => items.at(Math.max(at, 0) - 1),
  Home: (items) => items[0],
  End: (items) => items.at(-1),
};

/** Moves the focus as a key says, or to what begins with its letter; false = it means nothing. */
function goTo(panel: HTMLElement, key: string): boolean {
  const items = itemsOf(panel);
  const at = items.indexOf(document.activeElement as HTMLElement);
  const begins = (item: HTMLElement) => item.textContent.trim().toLowerCase().startsWith(key);
  const lettered = /^[^ ]$/u.test(key)
    ? [...items.slice(at + 1), ...items].find(begins)
    : undefined;
  const next = STEPS[key]?.(items, at) ?? lettered;
  next?.focus();
  return next !== undefined;
}

interface ItemProps {
  role: "menuitem" | "menuitemcheckbox";
  checked?: boolean;
  className?: string | undefined;
  onSelect: () => void;
  children: ReactNode;
}

function Item({ role, checked, className, onSelect, children }: ItemProps) {
  const close = use(Close);
  const choose = () => {
    close(); // first: what it does may want the focus
    onSelect();
  };
  return (
    <button
      type="button"
      role={role}
      tabIndex={-1}
      {...(checked !== undefined && { "aria-checked": checked })}
      className={join(styles.item, className)}
      onClick={choose}
      onPointerMove={({ currentTarget }) => currentTarget.focus({ preventScroll: true })}
    >
      {children}
    </button>
  );
}

interface MenuItemProps {
  icon?: IconName;
  danger?: boolean;
  hint?: string;
  onSelect: () => void;
  children: ReactNode;
}

/** One thing to do. */
export function MenuItem({ icon, danger, hint, onSelect, children }: MenuItemProps) {
  return (
    <Item role="menuitem" className={danger ? styles.danger : undefined} onSelect={onSelect}>
      {icon && <Icon name={icon} size={16} />}
      <span className={styles.label}>{children}</span>
      {hint && <span className={styles.hint}>{hint}</span>}
    </Item>
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
    <Item role="menuitemcheckbox" checked={checked} onSelect={onSelect}>
      <span className={styles.label}>
        {children}
        {detail && <span className={styles.detail}>{detail}</span>}
      </span>
      <span className={styles.tick}>{checked && <Icon name="check" size={16} />}</span>
    </Item>
  );
}

/** A line between groups. */
export function MenuLine() {
  return <hr className={styles.line} />;
}
