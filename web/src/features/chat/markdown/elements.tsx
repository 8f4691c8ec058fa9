/** How the elements of Markdown look; one object, made once, so that React keeps what it has. */

import { isValidElement, type ReactNode } from "react";
import type { Components } from "react-markdown";
import { Icon } from "~/ui/icons";
import { CodeBlock } from "../code/CodeBlock";
import { hostOf, isInline } from "./address";
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

function Pre({ children }: { children?: ReactNode }) {
  if (!isValidElement<CodeProps>(children)) return <pre>{children}</pre>;
  const { className = "", children: code } = children.props;
  if (className.includes("math-display")) return <Formula source={String(code)} display />;
  const language = /language-(\S+)/.exec(className)?.[1] ?? "";
  return <CodeBlock code={String(code ?? "")} language={language} />;
}

function Link({ href, children }: { href?: string | undefined; children?: ReactNode }) {
  if (!href) return <span>{children}</span>;
  if (href.startsWith("#")) return <a href={href}>{children}</a>;
  return (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}

function Picture({ src, alt }: { src?: unknown; alt?: string | undefined }) {
  const address = typeof src === "string" ? src : "";
  if (isInline(address)) return <img className={styles.picture} src={address} alt={alt ?? ""} />;
  if (!address) return <span>{alt}</span>;
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
    // biome-ignore lint/a11y/noNoninteractiveTabindex: wide tables are scrolled with the keys
    <section className={styles.table} tabIndex={0} aria-label="Table">
      <table>{children}</table>
    </section>
  );
}

export const ELEMENTS: Components = { code: Code, pre: Pre, a: Link, img: Picture, table: Table };
