/** The line comes back by itself, shows trouble only when it lasts, and finds a way around. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Cursors, Heard, OpenLine } from "./lines";
import { Live } from "./live";
import type { Connection } from "./types";

class Opened {
  closed = false;
  told: [string, number][] = [];
  constructor(
    readonly kind: "socket" | "stream",
    readonly cursors: Cursors,
    readonly heard: Heard,
  ) {}
}

let opened: Opened[];
let shown: Connection[];
let cursors: Cursors;
let world: { online: boolean; hidden: boolean };
let polls: number;
let reachable: boolean;
let live: Live;

function opening(kind: "socket" | "stream"): OpenLine {
  return (given, heard) => {
    const line = new Opened(kind, given, heard);
    opened.push(line);
    return {
      attach: (request_id, after) => {
        line.told.push([request_id, after]);
        return kind === "socket";
      },
      detach: () => {},
      close: () => {
        line.closed = true;
      },
    };
  };
}

const last = () => opened.at(-1) as Opened;
const hello = (line = last()) => {
  line.heard.sign();
  line.heard.message({ op: "hello", revision: 1 });
};

beforeEach(() => {
  vi.useFakeTimers();
  opened = [];
  shown = [];
  polls = 0;
  reachable = true;
  world = { online: true, hidden: false };
  cursors = { since: 7, attached: new Map([["resp_1", 4]]) };
  live = new Live(
    {
      message: () => {},
      connection: (connection) => shown.push(connection),
      cursors: () => cursors,
      poll: async () => {
        polls += 1;
        return reachable;
      },
      wantedHidden: () => false,
    },
    {
      openSocket: opening("socket"),
      openStream: opening("stream"),
      online: () => world.online,
      hidden: () => world.hidden,
      random: () => 1,
    },
  );
  live.start();
});

afterEach(() => {
  live.stop();
  vi.useRealTimers();
});

describe("a line that ends", () => {
  it("is opened again from the cursors that one has by then", () => {
    hello();
    cursors = { since: 9, attached: new Map([["resp_1", 17]]) };
    last().heard.closed();
    vi.advanceTimersByTime(500);
    expect(opened.length).toBe(2);
    expect(last().cursors.attached.get("resp_1")).toBe(17);
  });

  it("shows nothing when it is back soon", () => {
    hello();
    last().heard.closed();
    vi.advanceTimersByTime(600);
    hello();
    vi.advanceTimersByTime(10_000);
    expect(shown).toEqual(["live"]);
  });

  it("shows trouble when it lasts, and its end", () => {
    hello();
    last().heard.closed();
    vi.advanceTimersByTime(1_600);
    expect(shown).toEqual(["live", "reconnecting"]);
    hello();
    expect(shown.at(-1)).toBe("live");
  });

  it("waits longer after each failure", () => {
    hello();
    const gaps = [0, 1, 2, 3, 4].map(() => {
      const before = Date.now();
      last().heard.closed();
      const count = opened.length;
      while (opened.length === count) vi.advanceTimersByTime(100);
      hello(opened.at(-1));
      return Date.now() - before;
    });
    expect(gaps.every((gap) => gap <= 600)).toBe(true); // a hello forgives all failures
    const away = [0, 1, 2].map(() => {
      const before = Date.now();
      last().heard.closed();
      const count = opened.length;
      while (opened.length === count) vi.advanceTimersByTime(100);
      return Date.now() - before;
    });
    expect(away[2]).toBeGreaterThan(away[0] as number);
  });

  it("counts as lost when it falls silent", () => {
    hello();
    vi.advanceTimersByTime(46_000);
    expect(opened[0]?.closed).toBe(true);
    expect(opened.length).toBe(2);
  });
});

describe("the network", () => {
  it("is not asked while the browser says there is none", () => {
    hello();
    world.online = false;
    live.offline();
    vi.advanceTimersByTime(60_000);
    expect(opened.length).toBe(1);
    expect(shown.at(-1)).toBe("offline");
    world.online = true;
    live.wake();
    expect(opened.length).toBe(2);
  });

  it("is tried at once when the person comes back", () => {
    hello();
    last().heard.closed();
    live.wake();
    expect(opened.length).toBe(2);
  });

  it("is left alone when the line is well", () => {
    hello();
    live.wake();
    expect(opened.length).toBe(1);
  });
});

describe("blocked WebSockets", () => {
  function blockSockets() {
    for (let tries = 0; tries < 2; tries += 1) {
      last().heard.closed();
      vi.advanceTimersByTime(2_000);
    }
  }

  it("are replaced by a stream", () => {
    blockSockets();
    expect(last().kind).toBe("stream");
    hello();
    expect(shown.at(-1)).toBe("live");
  });

  it("also when they open and say nothing", () => {
    vi.advanceTimersByTime(14_000);
    expect(last().kind).toBe("stream");
  });

  it("a stream is opened anew for what it is to follow, once per moment", () => {
    blockSockets();
    hello();
    const before = opened.length;
    live.attach("resp_2", -1);
    live.attach("resp_3", -1);
    vi.advanceTimersByTime(100);
    expect(opened.length).toBe(before + 1);
  });

  it("streams that are blocked too are replaced by polling, until a line works", async () => {
    blockSockets();
    last().heard.closed();
    await vi.advanceTimersByTimeAsync(3_000);
    last().heard.closed();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(polls).toBeGreaterThan(3);
    expect(shown.at(-1)).toBe("live");
    await vi.advanceTimersByTimeAsync(130_000);
    expect(last().kind).toBe("socket");
  });

  it("a server that is away is looked for with sockets again", async () => {
    reachable = false;
    blockSockets();
    last().heard.closed();
    await vi.advanceTimersByTimeAsync(3_000);
    last().heard.closed();
    await vi.advanceTimersByTimeAsync(40_000);
    expect(last().kind).toBe("socket");
  });
});

describe("a hidden tab", () => {
  it("lets go of its line after a while, and comes back at once", () => {
    hello();
    world.hidden = true;
    live.hide();
    const halfMinutes = (count: number) => {
      for (let at = 0; at < count; at += 1) {
        vi.advanceTimersByTime(30_000);
        last().heard.sign();
      }
    };
    halfMinutes(8);
    expect(last().closed).toBe(false);
    halfMinutes(2);
    expect(last().closed).toBe(true);
    const before = opened.length;
    vi.advanceTimersByTime(600_000);
    expect(opened.length).toBe(before);
    world.hidden = false;
    live.wake();
    expect(opened.length).toBe(before + 1);
  });
});
