/** A trace's steps as people read them: each below the one that caused it. */

import type { Span } from "~/core/types";

export interface Step {
  span: Span;
  depth: number;
}

/** Returns the steps, parents before children, in the order of their start. */
export function stepsOf(spans: Span[]): Step[] {
  const known = new Set(spans.map((span) => span.id));
  const below = new Map<string | null, Span[]>();
  for (const span of spans) {
    const parent = span.parent_id !== null && known.has(span.parent_id) ? span.parent_id : null;
    below.set(parent, [...(below.get(parent) ?? []), span]);
  }
  const steps: Step[] = [];
  const stack = rows(below.get(null), 0);
  while (stack.length > 0) {
    const step = stack.pop() as Step;
    steps.push(step);
    stack.push(...rows(below.get(step.span.id), step.depth + 1));
    below.delete(step.span.id);
  }
  return steps;
}

function rows(spans: Span[] | undefined, depth: number): Step[] {
  const ordered = [...(spans ?? [])].sort((a, b) => b.offset_ms - a.offset_ms);
  return ordered.map((span) => ({ span, depth }));
}
