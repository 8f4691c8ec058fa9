import { lazy, Suspense } from "react";
import { CodeBlock } from "./CodeBlock";

const Diagram = lazy(() => import("../diagrams/Diagram"));

interface CodeViewProps {
  text: string;
  language: string;
  /** More may follow. */
  open: boolean;
}

/** Code; a diagram is drawn once its text is whole. */
export function CodeView({ text, language, open }: CodeViewProps) {
  const code = <CodeBlock code={text} language={language} open={open} />;
  if (open || language !== "mermaid") return code;
  return (
    <Suspense fallback={code}>
      <Diagram source={text} />
    </Suspense>
  );
}
