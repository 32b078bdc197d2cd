import { describe, expect, it } from "vitest";
import { type Coordination, createCoordination } from "../../src/coordination/coordination.ts";
import type { LeaseTable } from "../../src/coordination/lease-table.ts";
import type { Lease } from "../../src/coordination/leases.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { eventually } from "../support/wait.ts";

export const ttlMs = 3_000;

/** What several nodes share: each gets a table of its own over the same data. */
export interface Shared extends AsyncDisposable {
  table(): Promise<LeaseTable>;
}

interface Node {
  readonly holder: string;
  readonly clock: ManualClock;
  readonly table: LeaseTable;
  readonly coordination: Coordination;
  readonly lost: string[];
  readonly failures: unknown[];
}

/** Several nodes with clocks that run together, until one is told to stand still. */
const nodesOf = async (shared: Shared, names: readonly string[]) => {
  const nodes: Node[] = [];
  for (const holder of names) {
    const clock = new ManualClock();
    const table = await shared.table();
    const lost: string[] = [];
    const failures: unknown[] = [];
    const coordination = createCoordination({
      table: { ...table, take: (claim) => table.take(claim), renew: (life) => table.renew(life) },
      holder,
      ttlMs,
      clock,
      onLost: (name) => lost.push(name),
      onFailure: (error) => failures.push(error),
    });
    nodes.push({ holder, clock, table, coordination, lost, failures });
  }
  return {
    nodes,
    /** Lets time pass for these, with what they do in it. */
    async pass(ms: number, which: readonly Node[] = nodes) {
      for (let left = ms; left > 0; left -= 100) {
        for (const { clock } of which) clock.advance(Math.min(100, left));
        await breathe();
      }
    },
    /** The same, for as long as it takes. */
    async until<T>(promise: Promise<T>, which: readonly Node[] = nodes): Promise<T> {
      let over = false;
      const end = () => {
        over = true;
      };
      promise.then(end, end);
      const look = async (): Promise<boolean> => {
        await this.pass(100, which);
        return over;
      };
      if (!over) await eventually(look, { what: "the end of a wait" });
      return promise;
    },
    async [Symbol.asyncDispose]() {
      for (const { coordination } of nodes) await coordination.close();
      await shared[Symbol.asyncDispose]();
    },
  };
};

/** Lets everything happen that waits for no clock. */
const breathe = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};

const long = { waitMs: 1_000_000 };

/** What an implementation of the table must do so that the leases over it hold. */
export const coordinationContract = (name: string, share: () => Promise<Shared>): void => {
  describe(`leases: ${name}`, () => {
    it("has one holder at a time, of many who ask at once on many nodes", async () => {
      await using world = await nodesOf(await share(), ["a", "b", "c"]);
      let inside = 0;
      let most = 0;
      const work = async ({ coordination }: Node): Promise<void> => {
        const lease = await coordination.leases.acquire("s", long);
        most = Math.max(most, ++inside);
        await breathe();
        inside--;
        await lease.release();
      };
      const all = Promise.all(Array.from({ length: 30 }, (_, at) => work(world.nodes[at % 3] as Node)));
      await world.until(all);
      expect(most).toBe(1);
      expect(world.nodes.flatMap(({ lost }) => lost)).toEqual([]);
    });

    it("keeps names apart", async () => {
      await using world = await nodesOf(await share(), ["a", "b"]);
      const [a, b] = world.nodes as [Node, Node];
      await a.coordination.leases.acquire("one");
      await b.coordination.leases.acquire("two");
      await expect(b.coordination.leases.acquire("one")).rejects.toMatchObject({
        code: "held_elsewhere",
        details: { retryAfter: ttlMs / 1_000 },
      });
    });

    it("is handed over in the order in which it was asked for, also between nodes", async () => {
      await using world = await nodesOf(await share(), ["a", "b", "c"]);
      const [a] = world.nodes as [Node];
      let current: Lease = await a.coordination.leases.acquire("s");
      const order: number[] = [];
      const waits: Promise<void>[] = [];
      for (let at = 0; at < 9; at++) {
        const node = world.nodes[(at * 2) % 3] as Node;
        waits.push(
          node.coordination.leases.acquire("s", long).then((lease) => {
            order.push(at);
            current = lease;
          }),
        );
        // Each is in line before the next asks.
        await breathe();
      }
      for (let at = 0; at < 9; at++) {
        await current.release();
        await world.until(waits[at] as Promise<void>);
      }
      await Promise.all(waits);
      expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    });

    it("is handed over at once within a node, without waiting for a clock", async () => {
      await using world = await nodesOf(await share(), ["a"]);
      const [a] = world.nodes as [Node];
      const lease = await a.coordination.leases.acquire("s");
      const next = a.coordination.leases.acquire("s", long);
      await breathe();
      await lease.release();
      await (await next).release();
    });

    it("stays with a holder that renews, however long", async () => {
      await using world = await nodesOf(await share(), ["a", "b"]);
      const [a, b] = world.nodes as [Node, Node];
      const lease = await a.coordination.leases.acquire("s");
      for (let i = 0; i < 10; i++) {
        await world.pass(ttlMs / 2);
        await expect(b.coordination.leases.acquire("s")).rejects.toMatchObject({ code: "held_elsewhere" });
      }
      expect(lease.lost.aborted).toBe(false);
    });

    it("goes to the next when its holder is no more, and not before its time", async () => {
      await using world = await nodesOf(await share(), ["a", "b"]);
      const [a, b] = world.nodes as [Node, Node];
      await a.coordination.leases.acquire("s");
      let got: Lease | undefined;
      const next = b.coordination.leases.acquire("s", long).then((lease) => {
        got = lease;
      });
      await world.pass(ttlMs - 200, [b]);
      expect(got).toBeUndefined();
      await world.until(next, [b]);
      expect(got).toBeDefined();
    });

    it("does not wait for one in line whose node is no more", async () => {
      await using world = await nodesOf(await share(), ["a", "b", "c"]);
      const [a, b, c] = world.nodes as [Node, Node, Node];
      const lease = await a.coordination.leases.acquire("s");
      b.coordination.leases.acquire("s", long).catch(() => undefined);
      await breathe();
      const last = c.coordination.leases.acquire("s", long);
      // b stands still, in the line.
      await world.pass(ttlMs + 100, [a, c]);
      await lease.release();
      await (await world.until(last, [a, c])).release();
    });

    it("tells a holder that was asleep past its time that another has it, and leaves the other alone", async () => {
      await using world = await nodesOf(await share(), ["a", "b"]);
      const [a, b] = world.nodes as [Node, Node];
      const mine = await a.coordination.leases.acquire("s");
      const kept = await a.coordination.leases.acquire("other");
      await world.pass(ttlMs + 100, [b]);
      const theirs = await b.coordination.leases.acquire("s");
      expect(mine.lost.aborted).toBe(false);
      a.clock.jump(ttlMs + 100);
      await breathe();
      expect(mine.lost.aborted).toBe(true);
      expect(mine.lost.reason).toMatchObject({ code: "fenced" });
      expect(a.lost).toEqual(["s"]);
      // Nobody has taken the other one meanwhile.
      expect(kept.lost.aborted).toBe(false);
      await mine.release();
      await expect(a.coordination.leases.acquire("s")).rejects.toMatchObject({ code: "held_elsewhere" });
      await world.pass(ttlMs * 2);
      expect(theirs.lost.aborted).toBe(false);
      await theirs.release();
      await (await a.coordination.leases.acquire("s")).release();
    });

    it("is lost when its time is over and nobody can be asked, and free again when somebody can", async () => {
      const shared = await share();
      const table = await shared.table();
      let broken = false;
      const failing: LeaseTable = {
        ...table,
        renew: (life) => (broken ? Promise.reject(new Error("no table")) : table.renew(life)),
      };
      await using world = await nodesOf({ ...shared, table: async () => failing }, ["a", "b"]);
      const [a, b] = world.nodes as [Node, Node];
      const lease = await a.coordination.leases.acquire("s");
      broken = true;
      await world.pass(ttlMs - 100, [a]);
      expect(lease.lost.aborted).toBe(false);
      expect(a.failures.length).toBeGreaterThan(0);
      await world.pass(ttlMs / 3 + 200, [a]);
      expect(lease.lost.aborted).toBe(true);
      broken = false;
      await world.pass(ttlMs / 3 + 200, [a]);
      await (await b.coordination.leases.acquire("s")).release();
    });

    it("is had again at once by the node that could not give it up or leave its line, when it can", async () => {
      const shared = await share();
      let broken = false;
      const failing = async (): Promise<LeaseTable> => {
        const table = await shared.table();
        return {
          ...table,
          renew: (life) => table.renew(life),
          take: (claim) => table.take(claim),
          drop: (claim) => (broken ? Promise.reject(new Error("no table")) : table.drop(claim)),
        };
      };
      await using world = await nodesOf({ ...shared, table: failing }, ["a", "b"]);
      const [a, b] = world.nodes as [Node, Node];
      broken = true;
      await (await a.coordination.leases.acquire("s")).release();
      broken = false;
      const again = await a.coordination.leases.acquire("s");
      broken = true;
      await expect(b.coordination.leases.acquire("s")).rejects.toMatchObject({ code: "held_elsewhere" });
      expect([a.failures.length, b.failures.length]).toEqual([1, 1]);
      broken = false;
      await again.release();
      // Nobody asks b for it any more: it leaves the line with its next renewal.
      await world.pass(ttlMs / 3 + 100, [b]);
      await (await a.coordination.leases.acquire("s")).release();
    });

    it("is not given up by anybody but its holder", async () => {
      await using world = await nodesOf(await share(), ["a", "b"]);
      const [a, b] = world.nodes as [Node, Node];
      const lease = await a.coordination.leases.acquire("s");
      await b.table.drop({ name: "s", token: "somebody else's" });
      await expect(b.coordination.leases.acquire("s")).rejects.toMatchObject({ code: "held_elsewhere" });
      await lease.release();
      const theirs = await b.coordination.leases.acquire("s");
      // A second release, which comes late.
      await lease.release();
      await expect(a.coordination.leases.acquire("s")).rejects.toMatchObject({ code: "held_elsewhere" });
      await theirs.release();
    });

    it("is not kept from others by one who has given up waiting", async () => {
      await using world = await nodesOf(await share(), ["a", "b"]);
      const [a, b] = world.nodes as [Node, Node];
      const lease = await a.coordination.leases.acquire("s");
      const giving = new AbortController();
      const given = b.coordination.leases.acquire("s", { ...long, signal: giving.signal });
      await breathe();
      giving.abort();
      await expect(given).rejects.toMatchObject({ code: "cancelled" });
      const short = b.coordination.leases.acquire("s", { waitMs: 250 });
      const late = expect(short).rejects.toMatchObject({ code: "held_elsewhere" });
      await world.until(late);
      await lease.release();
      await (await a.coordination.leases.acquire("s")).release();
      const already = AbortSignal.abort();
      await expect(a.coordination.leases.acquire("s", { signal: already })).rejects.toMatchObject({
        code: "cancelled",
      });
    });

    it("lets a bounded number wait", async () => {
      await using world = await nodesOf(await share(), ["a"]);
      const [a] = world.nodes as [Node];
      await a.coordination.leases.acquire("s");
      const all = Array.from({ length: 101 }, () => a.coordination.leases.acquire("s", long));
      const ends = all.map((one) => one.catch((error: { code: string }) => error.code));
      expect(await ends[100]).toBe("queue_full");
      await a.coordination.close();
      expect(new Set(await Promise.all(ends.slice(0, 100)))).toEqual(new Set(["draining"]));
    });

    it("gives everything up when it closes", async () => {
      await using world = await nodesOf(await share(), ["a", "b"]);
      const [a, b] = world.nodes as [Node, Node];
      const lease = await a.coordination.leases.acquire("s");
      await a.coordination.close();
      expect(lease.lost.aborted).toBe(false);
      await (await b.coordination.leases.acquire("s")).release();
      await expect(a.coordination.leases.acquire("s")).rejects.toMatchObject({ code: "draining" });
    });
  });
};
