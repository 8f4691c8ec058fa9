/** Keeps the end of what grows in view until a person scrolls up, and again once they are back. */

/** So close to the end counts as at it. */
const NEAR_PX = 40;
/** So long after a turn of the wheel or a key, what moves is the person's doing. */
const OWN_MS = 500;
/** Further than so many screens one is not carried smoothly. */
const SMOOTH_SCREENS_MAX = 3;

const UPWARDS = new Set(["ArrowUp", "PageUp", "Home"]);

/**
 * Follows one box. Whether it follows is changed by people only: by the wheel, keys, fingers, the
 * scroll bar. Content that grows or shrinks, above or below, never takes the hold or gives it back.
 */
export class Follow {
  #following: boolean;
  /** Where the box was, and of what size, when it was last looked at. */
  #top = 0;
  #size = "";
  #held = false;
  #own_at = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly box: HTMLElement,
    following: boolean,
    /** Told whether the end is out of sight and not followed. */
    private readonly tell: (away: boolean) => void,
  ) {
    this.#following = following;
  }

  /** Listens until what it returns is called. */
  listen(content: Element): () => void {
    const off = new AbortController();
    const on = { signal: off.signal, passive: true };
    const { box } = this;
    box.addEventListener("scroll", () => this.scrolled(), on);
    box.addEventListener("wheel", (event) => this.#wheeled(event), on);
    box.addEventListener("keydown", (event) => this.#pressed(event), on);
    box.addEventListener("focusin", ({ target }) => this.#entered(target), on);
    for (const kind of ["pointerdown", "touchstart"]) {
      box.addEventListener(kind, () => this.#hold(true), on);
    }
    for (const kind of ["pointerup", "touchend", "touchcancel"]) {
      window.addEventListener(kind, () => this.#hold(false), on);
    }
    const observer = new ResizeObserver(() => this.resized());
    observer.observe(content);
    observer.observe(box);
    return () => {
      off.abort();
      observer.disconnect();
    };
  }

  /** Goes to the end and stays there. */
  toEnd(how: "smooth" | "instant"): void {
    this.#following = true;
    const { box } = this;
    const left = box.scrollHeight - box.clientHeight - box.scrollTop;
    const near = left < SMOOTH_SCREENS_MAX * box.clientHeight;
    if (how === "smooth" && near && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
      box.scrollTo({ top: box.scrollHeight, behavior: "smooth" });
    } else this.#pin();
    this.tell(false);
  }

  /** Goes to a place and stays there. */
  toPlace(top: number): void {
    this.#following = false;
    this.box.scrollTop = top;
    this.#look();
  }

  resized(): void {
    if (this.#following && !this.#held) this.#pin();
    this.#look();
  }

  scrolled(): void {
    const by = this.box.scrollTop - this.#top;
    if (this.#isOwn()) {
      if (by < -1) this.#following = false;
      else if (by > 1 && this.#left() <= NEAR_PX) this.#following = true;
    }
    this.#look();
  }

  /** Whether a person moved the box: nothing else does while its sizes are the same. */
  #isOwn(): boolean {
    const acted = this.#held || performance.now() - this.#own_at < OWN_MS;
    if (acted) this.#own_at = performance.now(); // a flick goes on for a while
    return acted || this.#size === this.#sizeNow();
  }

  // At once: the next growth would come before the scrolling is told, and undo it.
  #wheeled(event: WheelEvent): void {
    this.#own_at = performance.now();
    if (event.deltaY < 0 && !isWithin(event.target, this.box)) this.#letGo();
  }

  #pressed(event: KeyboardEvent): void {
    this.#own_at = performance.now();
    if (UPWARDS.has(event.key) || (event.key === " " && event.shiftKey)) this.#letGo();
  }

  /** Who writes within the box, e.g. edits a question, keeps that in view and not the end. */
  #entered(target: EventTarget | null): void {
    if (target instanceof HTMLTextAreaElement) this.#letGo();
  }

  #letGo(): void {
    if (this.box.scrollTop > 0) this.#following = false;
  }

  /** While a person holds something (a selection, the bar, the page itself) nothing moves by itself. */
  #hold(held: boolean): void {
    if (this.#held === held) return;
    this.#held = held;
    if (!held) this.resized();
  }

  #pin(): void {
    this.box.scrollTop = this.box.scrollHeight;
  }

  #look(): void {
    this.#top = this.box.scrollTop;
    this.#size = this.#sizeNow();
    this.tell(!this.#following && this.#left() > NEAR_PX);
  }

  #left(): number {
    return this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight;
  }

  #sizeNow(): string {
    return `${this.box.scrollHeight} ${this.box.clientHeight}`;
  }
}

/** Whether something between the two scrolls by itself, and has room above. */
function isWithin(target: EventTarget | null, box: Element): boolean {
  let at = target instanceof Element ? target : null;
  for (; at && at !== box; at = at.parentElement) if (at.scrollTop > 0) return true;
  return false;
}
