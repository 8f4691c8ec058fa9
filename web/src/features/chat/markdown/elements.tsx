/** How the elements of Markdown look. */

import { createContext, isValidElement, type ReactNode, use, useState } from "react";
import type { Components } from "react-markdown";
import { usePreferences } from "~/hooks";
import { Icon } from "~/ui/icons";
import { join } from "~/ui/join";
import { CodeView } from "../code/CodeView";
import { hostOf, isInline, isSecure } from "./address";
import { Formula } from "./Formula";
import styles from "./Markdown.module.css";

interface CodeProps {
  className?: string | undefined;
  children?: ReactNode;
}

function Code({ className, children }: CodeProps) {
  if (className?.includes("math-inline")) return <Formula source={String(children)} />;
  return <code className={styles.code}>{children}</code>;
}

/** Whether the block that is shown may still grow. */
export const Growing = createContext(false);

function Fence({ text, language }: { text: string; language: string }) {
  return <CodeView text={text} language={language} open={use(Growing)} />;
}

function Pre({ children }: { children?: ReactNode }) {
  if (!isValidElement<CodeProps>(children)) return <pre>{children}</pre>;
  const { className = "", children: code } = children.props;
  if (className.includes("math-display")) return <Formula source={String(code)} display />;
  const language = /language-(\S+)/.exec(className)?.[1] ?? "";
  return <Fence text={String(code ?? "")} language={language} />;
}

interface LinkProps {
  href?: string | undefined;
  /** Of the mark of a footnote, to which its words lead back. */
  id?: string | undefined;
  "aria-label"?: string | undefined;
  children?: ReactNode;
}

function Link({ href, id, "aria-label": label, children }: LinkProps) {
  if (!href) return <span>{children}</span>;
  if (href.startsWith("#")) {
    return (
      <a href={href} id={id} aria-label={label}>
        {children}
      </a>
    );
  }
  return (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}

function Picture({ src, alt }: { src?: unknown; alt?: string | undefined }) {
  const address = typeof src === "string" ? src : "";
  const { remote_images } = usePreferences();
  if (isInline(address)) return <img className={styles.picture} src={address} alt={alt ?? ""} />;
  if (!address) return <span>{alt}</span>;
  const place = <Placeholder address={address} alt={alt} />;
  return remote_images && isSecure(address) ? (
    <Remote address={address} alt={alt} instead={place} />
  ) : (
    place
  );
}

interface PlaceProps {
  address: string;
  alt: string | undefined;
}

/** A picture of another server, for people who chose to see such; a link where it cannot be had. */
function Remote({ address, alt, instead }: PlaceProps & { instead: ReactNode }) {
  const [missing, miss] = useState(false);
  if (missing) return instead;
  return (
    <img
      className={join(styles.picture, styles.remote)}
      src={address}
      alt={alt ?? ""}
      loading="lazy"
      referrerPolicy="no-referrer"
      onError={() => miss(true)}
    />
  );
}

function Placeholder({ address, alt }: PlaceProps) {
  return (
    <a
      className={styles.placeholder}
      href={address}
      target="_blank"
      rel="noopener noreferrer nofollow"
    >
      <Icon name="image" size={16} />
      <span>
        {alt || "Image"} <span className={styles.host}>{hostOf(address)}</span>
      </span>
    </a>
  );
}

function Table({ children }: { children?: ReactNode }) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a group for the keys, not a fieldset
    // biome-ignore lint/a11y/noNoninteractiveTabindex: wide tables are scrolled with the keys
    <div dir="auto" role="group" className={styles.table} tabIndex={0} aria-label="Table">
      <table>{children}</table>
    </div>
  );
}

function Tick({ checked }: { checked?: boolean | undefined }) {
  const label = checked ? "Done" : "To do";
  return <input type="checkbox" disabled checked={checked === true} aria-label={label} />;
}

interface ListProps extends CodeProps {
  start?: number | undefined;
}

// Each runs in the direction of its own words: short texts are parsed together, whatever their script.
function Bullets({ className, children }: CodeProps) {
  return (
    <ul dir="auto" className={className}>
      {children}
    </ul>
  );
}

function Numbers({ className, start, children }: ListProps) {
  return (
    <ol dir="auto" className={className} start={start}>
      {children}
    </ol>
  );
}

function Quotation({ children }: { children?: ReactNode }) {
  return <blockquote dir="auto">{children}</blockquote>;
}

const ELEMENTS: Components = {
  a: Link,
  blockquote: Quotation,
  code: Code,
  img: Picture,
  input: Tick,
  ol: Numbers,
  pre: Pre,
  table: Table,
  ul: Bullets,
};

const HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"] as const;
const HIGHEST = 2;

/** By the level of the first heading: made once each, so that React keeps what it has. */
const BY_LEVEL = HEADINGS.map((_, n) => ({ ...ELEMENTS, ...headings(n + 1) }));

/** Returns the elements for a text whose first heading has this level (null = none yet).
 *
 * The title of the chat is the page's first heading: the answer's own come next below it, at
 * whatever level the model begins. */
export function elementsFor(level: number | null): Components {
  return BY_LEVEL[(level ?? 1) - 1] ?? ELEMENTS;
}

function headings(first: number): Components {
  const named = HEADINGS.map((name, n) => {
    const place = Math.min(6, Math.max(HIGHEST, n + 1 - first + HIGHEST));
    return [name, HEADINGS[place - 1]];
  });
  return Object.fromEntries(named);
}
