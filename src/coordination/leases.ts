import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import { newUuid } from "../kernel/ids.ts";
import type { LeaseTable } from "./lease-table.ts";

export interface LeaseOptions {
  readonly table: LeaseTable;
  /** Names this process among all that share the table. */
  readonly holder: string;
  /** A node that has not renewed for so long may lose what it holds. */
  readonly ttlMs: number;
  readonly clock: Clock;
  /** A lease was lost. */
  readonly onLost: (name: string) => void;
  /** The table cannot be reached just now. */
  readonly onFailure: (error: unknown) => void;
}

/** The right of one node to a name, until it is released or lost. It renews itself. */
export interface Lease {
  readonly name: string;
  /** Aborts when somebody else has it, or when that could not be ruled out in time. */
  readonly lost: AbortSignal;
  /** Gives it to the next in line. Never rejects: what cannot be given up now is so later, at the latest with a renewal. */
  release(): Promise<void>;
}

export interface Leases {
  /**
   * Waits in line for the name, `waitMs` at most (0: not at all). Rejects with `held_elsewhere` after that (details:
   * `retryAfter`, seconds), `cancelled` by the signal, `queue_full` when too many wait here already, or as the table does.
   */
  acquire(
    name: string,
    options?: { readonly waitMs?: number; readonly signal?: AbortSignal },
  ): Promise<Lease>;
  /** Gives up everything; nothing is acquired any more. */
  close(): Promise<void>;
}

/** How often one that waits looks again: no other process tells us when it lets go. */
const pollMs = 100;

/** Of this node, for one name. */
const maxWaiting = 100;

/** What a token stands for in the table. */
interface Claimed {
  readonly name: string;
  readonly token: string;
}

interface Waiter {
  /** The name may have become free since it last looked. */
  called: boolean;
  wakeUp(): void;
}

/** Where a lease is lost, its holder hears of it by the time at which it might be; what it does until then is fenced. */
export const createLeases = (options: LeaseOptions): Leases => {
  const { table, holder, ttlMs, clock, onLost, onFailure } = options;
  const held = new Map<string, { readonly name: string; readonly ended: AbortController }>();
  /** Tokens that may be on their way to a lease. */
  const claimed = new Set<string>();
  /** By token: leases and places in lines that the table could not be told to take back. We would wait for ourselves. */
  const owed = new Map<string, Claimed>();
  const waiting = new Map<string, Set<Waiter>>();
  const closing = new AbortController();
  /** On the monotonic clock: until then nobody else can have taken what is held. */
  let aliveUntil = clock.monotonic() + ttlMs;
  let renewing = false;
  let cancelTimer = (): void => {};

  const endWatch = table.onFreed((name) => {
    for (const waiter of waiting.get(name) ?? []) {
      waiter.called = true;
      waiter.wakeUp();
    }
  });

  const life = () => ({ holder, now: clock.now(), until: clock.now() + ttlMs });

  const lose = (token: string): void => {
    const lease = held.get(token);
    if (lease === undefined) return;
    held.delete(token);
    owed.set(token, { name: lease.name, token });
    onLost(lease.name);
    lease.ended.abort(new SquadronError("fenced", "Another node has taken this over."));
  };

  const drop = async ({ name, token }: Claimed): Promise<void> => {
    try {
      await table.drop({ name, token });
      owed.delete(token);
    } catch (error) {
      owed.set(token, { name, token });
      onFailure(error);
    }
  };

  const payOff = async (which: (claim: Claimed) => boolean): Promise<void> => {
    for (const claim of [...owed.values()].filter(which)) await drop(claim);
  };

  /** One call for all that is held. Whoever was asleep too long may still find that nobody has taken anything. */
  const renew = async (): Promise<void> => {
    const startedAt = clock.monotonic();
    const before = [...held.keys()];
    try {
      const rows = await table.renew(life());
      aliveUntil = Math.max(aliveUntil, startedAt + ttlMs);
      const still = new Set(rows.map(({ token }) => token));
      for (const token of before) if (!still.has(token)) lose(token);
      for (const row of rows) if (!held.has(row.token) && !claimed.has(row.token)) await drop(row);
      await payOff(() => true);
    } catch (error) {
      onFailure(error);
      if (clock.monotonic() >= aliveUntil) for (const token of before) lose(token);
    }
  };

  const tick = (): void => {
    cancelTimer = clock.after(ttlMs / 3, tick);
    if (renewing) {
      // It has taken a whole interval: nobody knows what the table says.
      if (clock.monotonic() >= aliveUntil) for (const token of [...held.keys()]) lose(token);
      return;
    }
    renewing = true;
    renew().finally(() => {
      renewing = false;
    });
  };
  cancelTimer = clock.after(ttlMs / 3, tick);

  const heldElsewhere = (until: number): SquadronError =>
    new SquadronError("held_elsewhere", "Another node has this session at work; try again there, or later.", {
      details: { retryAfter: Math.max(1, Math.ceil((until - clock.now()) / 1_000)) },
    });

  /** Waits until the name may be free, it is time to look again, or nobody wants it any more. */
  const change = async (waiter: Waiter, ms: number, signal: AbortSignal): Promise<void> => {
    if (!waiter.called && !signal.aborted)
      await new Promise<void>((resolve) => {
        const done = (): void => {
          cancel();
          signal.removeEventListener("abort", done);
          resolve();
        };
        const cancel = clock.after(ms, done);
        signal.addEventListener("abort", done, { once: true });
        waiter.wakeUp = done;
      });
    waiter.called = false;
  };

  const leaseOf = (name: string, token: string): Lease => {
    const ended = new AbortController();
    held.set(token, { name, ended });
    return {
      name,
      lost: ended.signal,
      async release() {
        if (held.delete(token)) await drop({ name, token });
      },
    };
  };

  const acquire: Leases["acquire"] = async (name, { waitMs = 0, signal } = {}) => {
    const over = signal === undefined ? closing.signal : AbortSignal.any([signal, closing.signal]);
    const endAt = clock.monotonic() + waitMs;
    const token = newUuid();
    const refuse = (): void => {
      if (closing.signal.aborted) throw new SquadronError("draining", "This node is shutting down.");
      if (over.aborted) throw new SquadronError("cancelled", "Nobody waits for this any more.");
    };
    refuse();
    const line = waiting.get(name) ?? new Set();
    if (line.size >= maxWaiting)
      throw new SquadronError("queue_full", "Too many wait for the same session already.");
    const waiter: Waiter = { called: false, wakeUp: () => undefined };
    waiting.set(name, line.add(waiter));
    claimed.add(token);
    /** Has the table anything of it? */
    let known = false;
    try {
      await payOff((claim) => claim.name === name);
      for (;;) {
        const startedAt = clock.monotonic();
        const answer = await table.take({ name, token, ...life() });
        known = true;
        aliveUntil = Math.max(aliveUntil, startedAt + ttlMs);
        refuse();
        if (answer.kind === "taken") return leaseOf(name, token);
        const leftMs = endAt - clock.monotonic();
        if (leftMs <= 0) throw heldElsewhere(answer.until);
        await change(waiter, Math.min(leftMs, pollMs), over);
        refuse();
      }
    } catch (error) {
      if (known) await drop({ name, token });
      else await table.drop({ name, token }).catch(onFailure);
      throw error;
    } finally {
      claimed.delete(token);
      line.delete(waiter);
      if (line.size === 0) waiting.delete(name);
    }
  };

  return {
    acquire,
    async close() {
      closing.abort();
      cancelTimer();
      endWatch();
      await table.forget(holder).catch(onFailure);
      held.clear();
    },
  };
};
