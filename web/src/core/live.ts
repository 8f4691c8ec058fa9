/** One line per tab for everything; it comes back by itself and goes on from the cursors.
 *
 * It tells what it hears and how the connection stands; it knows no chats. */

import { backoff } from "./backoff";
import type { Cursors, Heard, Line, LiveMessage, OpenLine } from "./lines";
import type { Connection } from "./types";

/** A line that says nothing at first is blocked or buffered somewhere. */
const HELLO_MS = 6_000;
const TRIES_PER_WAY = 2;
/** "Reconnecting…" is not worth showing before. */
const SHOWN_AFTER_MS = 1_500;
const POLL_MS = 2_000;
/** While polling: how often a real line is tried again. */
const POLLS_PER_TRY = 60;
/** Hidden tabs let go: streams soon, since browsers open only six per server; sockets late. */
const HIDDEN_MS = { socket: 5 * 60_000, stream: 10_000, polling: 10_000 };

export type Way = "socket" | "stream" | "polling";

export interface Told {
  message(message: LiveMessage): void;
  connection(connection: Connection): void;
  cursors(): Cursors;
  /** Look without a line; false = the server did not answer. */
  poll(): Promise<boolean>;
  /** Whether a hidden tab is to keep its line. */
  wantedHidden(): boolean;
}

export interface World {
  openSocket: OpenLine;
  openStream: OpenLine;
  online(): boolean;
  hidden(): boolean;
  random(): number;
}

export class Live {
  private way: Way = "socket";
  private line: Line | null = null;
  private number = 0;
  private failures = 0;
  private failuresOfWay = 0;
  private polls = 0;
  private started = false;
  private greeted = false;
  private heardAt = 0;
  private silence_ms = 45_000;
  private shown: Connection = "connecting";
  private readonly timers = new Map<string, ReturnType<typeof setTimeout>>();

  constructor(
    private readonly told: Told,
    private readonly world: World,
  ) {}

  start(): void {
    this.started = true;
    this.connect();
  }

  stop(): void {
    this.started = false;
    this.letGo();
    this.timers.forEach(clearTimeout);
    this.timers.clear();
  }

  /** Tell after which silence a line counts as dead. */
  expectSignEach(keepalive_s: number): void {
    this.silence_ms = keepalive_s * 2000 + 10_000;
  }

  attach(request_id: string, after: number): void {
    if (this.line && !this.line.attach(request_id, after)) {
      // Several attachments of one moment become one new stream.
      this.after("reopen", 20, () => this.connect());
    }
  }

  detach(request_id: string): void {
    this.line?.detach(request_id);
  }

  /** The browser says that the network is there, or the tab came back. */
  wake(): void {
    if (!this.started) return;
    this.cancel("let go");
    const stale = Date.now() - this.heardAt > this.silence_ms;
    if (this.line && this.greeted && !stale) return;
    this.failures = 0;
    this.connect();
  }

  offline(): void {
    this.letGo();
    this.show("offline");
  }

  hide(): void {
    this.after("let go", HIDDEN_MS[this.way], () => {
      if (this.world.hidden() && !this.told.wantedHidden()) this.letGo();
    });
  }

  private connect(): void {
    this.letGo();
    if (!this.started) return;
    if (!this.world.online()) {
      this.show("offline");
      return;
    }
    this.show(this.shown === "connecting" ? "connecting" : "reconnecting");
    if (this.way === "polling") this.poll();
    else this.open(this.way === "socket" ? this.world.openSocket : this.world.openStream);
  }

  private open(how: OpenLine): void {
    this.greeted = false;
    this.number += 1;
    this.after("silence", HELLO_MS, () => this.lost());
    this.line = how(this.told.cursors(), this.listener(this.number));
  }

  /** What a line that was let go still says is not heard. */
  private listener(number: number): Heard {
    const current = (act: () => void) => {
      if (number === this.number) act();
    };
    return {
      message: (message) => current(() => this.hear(message)),
      closed: () => current(() => this.lost()),
      sign: () =>
        current(() => {
          this.heardAt = Date.now();
          this.after("silence", this.silence_ms, () => this.lost());
        }),
    };
  }

  private hear(message: LiveMessage): void {
    if (message.op === "hello") {
      this.greeted = true;
      this.failures = 0;
      this.failuresOfWay = 0;
      this.show("live");
    }
    this.told.message(message);
  }

  private lost(): void {
    const greeted = this.greeted;
    this.letGo();
    this.failures += 1;
    if (greeted) this.way = this.way === "stream" ? "stream" : "socket";
    else this.failuresOfWay += 1;
    if (this.failuresOfWay >= TRIES_PER_WAY) this.nextWay();
    this.show("reconnecting");
    this.after("retry", backoff(this.failures, this.world.random), () => this.connect());
  }

  /** A way that never worked is blocked, or the server is away: try the next one, in a round. */
  private nextWay(): void {
    this.failuresOfWay = 0;
    this.way = this.way === "socket" ? "stream" : "polling";
    this.polls = 0;
  }

  private async poll(): Promise<void> {
    const answered = await this.told.poll();
    if (!this.started || this.way !== "polling") return;
    this.polls += 1;
    if (!answered || this.polls >= POLLS_PER_TRY) {
      this.way = "socket";
      this.failuresOfWay = 0;
    }
    if (answered) this.show("live");
    else this.failures += 1;
    const pause = answered ? POLL_MS : backoff(this.failures, this.world.random);
    this.after("retry", pause, () => this.connect());
  }

  private letGo(): void {
    for (const name of ["silence", "retry", "reopen"]) this.cancel(name);
    const line = this.line;
    this.line = null;
    this.number += 1;
    this.greeted = false;
    line?.close();
  }

  /** Good news is shown at once, bad news when it lasts. */
  private show(connection: Connection): void {
    if (connection === "live") {
      this.cancel("show");
      this.set(connection);
    } else if (!this.timers.has("show")) {
      this.after("show", SHOWN_AFTER_MS, () =>
        this.set(this.world.online() ? "reconnecting" : "offline"),
      );
    }
  }

  private set(connection: Connection): void {
    if (connection === this.shown) return;
    this.shown = connection;
    this.told.connection(connection);
  }

  private after(name: string, ms: number, act: () => void): void {
    this.cancel(name);
    const timer = setTimeout(() => {
      this.timers.delete(name);
      act();
    }, ms);
    this.timers.set(name, timer);
  }

  private cancel(name: string): void {
    clearTimeout(this.timers.get(name));
    this.timers.delete(name);
  }
}
