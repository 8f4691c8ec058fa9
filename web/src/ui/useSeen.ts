import { type RefObject, useEffect, useState } from "react";

/** Whether an element has been on the screen: what nobody looks at need not be asked for. */
export function useSeen(of: RefObject<Element | null>): boolean {
  const [seen, see] = useState(false);
  useEffect(() => {
    if (seen || !of.current) return;
    const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && see(true));
    observer.observe(of.current);
    return () => observer.disconnect();
  }, [of, seen]);
  return seen;
}
