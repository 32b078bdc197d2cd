import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";

/** Who wants to be in a runtime's memory, as far as places are concerned. */
export interface Resident {
  readonly tenant: string;
  /** Sessions of the tenant that may be live at once; unset: as many as the node has places. */
  readonly tenantLimit: number | undefined;
  readonly unitKey: string;
  /** Monotonic. */
  readonly lastUsedAt: number;
  /** May it be sent to sleep now, with nobody noticing? */
  readonly evictable: boolean;
  /** Sends it to sleep if it is still evictable and can be stored. Never rejects. */
  evict(): Promise<void>;
}

/**
 * The node's places for live sessions and the runtimes that they need. Who finds none free gets that of the least
 * recently used session that nobody works with; while there is none, all wait, each tenant in its turn.
 */
export interface LivePlaces {
  /**
   * Rejects with `no_capacity` when nobody of the tenant has got a place for 10 s, after a minute in any case, or at once
   * when too many wait already. Details: `limit`, the name of what was reached, its `value`, `retryAfter` in seconds.
   */
  take(resident: Resident): Promise<void>;
  leave(resident: Resident): void;
  /** Something may have become free: a session is idle again, a runtime has ended. */
  changed(): void;
  readonly taken: number;
  readonly waiting: number;
}

/** What has no room, if anything has none. */
type Want = "nothing" | "a place" | "a place of the tenant" | "a runtime";

interface Waiter {
  readonly resident: Resident;
  readonly since: number;
  resolve(): void;
  reject(error: unknown): void;
  cancelTimer(): void;
}

/** How long a tenant's line may stand still before those in it give up, and how long anybody waits in a line that moves. */
const standstillMs = 10_000;
const longestWaitMs = 60_000;
const maxWaiting = 1_000;

export const createLivePlaces = (options: {
  readonly clock: Clock;
  readonly limit: number;
  readonly maxRuntimes: number;
  /** Units that have a runtime or are about to. */
  readonly boundUnits: () => readonly string[];
  /** Ends the least recently used runtime whose sessions are all idle; false if there is none. */
  readonly freeRuntime: () => Promise<boolean>;
  readonly onEvicted: (reason: "sessions" | "tenant" | "runtimes") => void;
}): LivePlaces => {
  const { clock, limit, maxRuntimes, boundUnits, freeRuntime, onEvicted } = options;
  const residents = new Set<Resident>();
  /** By tenant, in the order in which tenants are served next. */
  const waiting = new Map<string, Waiter[]>();
  /** When somebody of a waiting tenant last got a place. */
  const movedAt = new Map<string, number>();
  let size = 0;
  let running = false;
  let again = false;

  const ofTenant = (tenant: string): readonly Resident[] =>
    [...residents].filter((resident) => resident.tenant === tenant);

  const want = ({ tenant, tenantLimit, unitKey }: Resident): Want => {
    if (tenantLimit !== undefined && ofTenant(tenant).length >= tenantLimit) return "a place of the tenant";
    if (residents.size >= limit) return "a place";
    const units = new Set([...boundUnits(), ...[...residents].map((resident) => resident.unitKey)]);
    return units.has(unitKey) || units.size < maxRuntimes ? "nothing" : "a runtime";
  };

  /** The least recently used one that can go, goes. */
  const evictOne = async (among: readonly Resident[]): Promise<boolean> => {
    const oldestFirst = among
      .filter((resident) => resident.evictable)
      .sort((one, other) => one.lastUsedAt - other.lastUsedAt);
    for (const oldest of oldestFirst) {
      await oldest.evict();
      if (!residents.has(oldest)) return true;
    }
    return false;
  };

  /** Makes room for one; false when nothing can go now. */
  const makeRoom = async (resident: Resident): Promise<boolean> => {
    for (;;) {
      switch (want(resident)) {
        case "nothing":
          return true;
        case "a place of the tenant":
          if (!(await evictOne(ofTenant(resident.tenant)))) return false;
          onEvicted("tenant");
          break;
        case "a place":
          if (!(await evictOne([...residents]))) return false;
          onEvicted("sessions");
          break;
        case "a runtime":
          if (!(await freeRuntime())) return false;
          onEvicted("runtimes");
          break;
      }
    }
  };

  const remove = (waiter: Waiter): boolean => {
    const { tenant } = waiter.resident;
    const line = waiting.get(tenant) ?? [];
    const at = line.indexOf(waiter);
    if (at < 0) return false;
    line.splice(at, 1);
    size--;
    waiter.cancelTimer();
    // Whose turn it was goes to the end.
    waiting.delete(tenant);
    if (line.length > 0) waiting.set(tenant, line);
    else movedAt.delete(tenant);
    return true;
  };

  /** Serves one waiter; false when nobody can be served now. */
  const serveOne = async (): Promise<boolean> => {
    for (const [waiter] of [...waiting.values()]) {
      if (waiter === undefined || !(await makeRoom(waiter.resident))) continue;
      // It may have given up meanwhile.
      if (!remove(waiter)) return true;
      const { tenant } = waiter.resident;
      if (waiting.has(tenant)) movedAt.set(tenant, clock.monotonic());
      residents.add(waiter.resident);
      waiter.resolve();
      return true;
    }
    return false;
  };

  const serve = async (): Promise<void> => {
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      do {
        again = false;
        while (await serveOne());
      } while (again);
    } finally {
      running = false;
    }
  };

  const serveAll = (): void => {
    serve().catch((error) => {
      for (const waiter of [...waiting.values()].flat()) if (remove(waiter)) waiter.reject(error);
    });
  };

  const full = (message: string, name: string, value: number): SquadronError =>
    new SquadronError("no_capacity", message, {
      details: { limit: name, value, retryAfter: Math.ceil(standstillMs / 1_000) },
    });

  const tooMany = (): SquadronError =>
    full(
      `${maxWaiting} sessions already wait for a place in this node; try again later.`,
      "waitingSessions",
      maxWaiting,
    );

  /** What a waiter has waited for in vain. */
  const lacking = (resident: Resident): SquadronError => {
    const { tenantLimit = 0 } = resident;
    switch (want(resident)) {
      case "a place of the tenant":
        return full(
          `All ${tenantLimit} sessions that your tenant may have in memory are at work; try again later.`,
          "livePerTenant",
          tenantLimit,
        );
      case "a runtime":
        return full(
          `All ${maxRuntimes} runtimes of this node are at work; try again later.`,
          "runtimes.max",
          maxRuntimes,
        );
      case "a place":
      case "nothing":
        return full(
          `All ${limit} places of this node are taken by sessions at work; try again later.`,
          "runtimes.maxSessions",
          limit,
        );
    }
  };

  /** Gives up for it when its line stands still, or when it has waited very long; looks again later otherwise. */
  const watch = (waiter: Waiter): void => {
    const now = clock.monotonic();
    const moved = Math.max(waiter.since, movedAt.get(waiter.resident.tenant) ?? 0);
    const left = Math.min(moved + standstillMs, waiter.since + longestWaitMs) - now;
    if (left > 0) waiter.cancelTimer = clock.after(left, () => watch(waiter));
    else if (remove(waiter)) waiter.reject(lacking(waiter.resident));
  };

  /** A full queue is for all tenants too: the newest of the longest line gives way to one of a shorter line. */
  const dropOneFor = (tenant: string): boolean => {
    const longest = [...waiting.values()].reduce(
      (long, line) => (line.length > long.length ? line : long),
      [],
    );
    const last = longest.at(-1);
    if (last === undefined || longest.length <= (waiting.get(tenant)?.length ?? 0) + 1) return false;
    remove(last);
    last.reject(tooMany());
    return true;
  };

  return {
    take(resident) {
      if (residents.has(resident)) return Promise.resolve();
      if (size >= maxWaiting && !dropOneFor(resident.tenant)) return Promise.reject(tooMany());
      return new Promise((resolve, reject) => {
        const waiter: Waiter = {
          resident,
          since: clock.monotonic(),
          resolve,
          reject,
          cancelTimer: () => undefined,
        };
        watch(waiter);
        const line = waiting.get(resident.tenant);
        if (line === undefined) waiting.set(resident.tenant, [waiter]);
        else line.push(waiter);
        size++;
        serveAll();
      });
    },
    leave(resident) {
      if (residents.delete(resident)) serveAll();
    },
    changed: () => {
      if (size > 0) serveAll();
    },
    get taken() {
      return residents.size;
    },
    get waiting() {
      return size;
    },
  };
};
