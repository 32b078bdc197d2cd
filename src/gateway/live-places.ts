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
  /** Rejects with `no_capacity` after `waitMs`, or at once when too many wait already. */
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
  resolve(): void;
  reject(error: unknown): void;
  cancelTimer(): void;
}

const waitMs = 10_000;
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
    return true;
  };

  /** Serves one waiter; false when nobody can be served now. */
  const serveOne = async (): Promise<boolean> => {
    for (const [waiter] of [...waiting.values()]) {
      if (waiter === undefined || !(await makeRoom(waiter.resident))) continue;
      // It may have given up meanwhile.
      if (!remove(waiter)) return true;
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

  const full = (message: string): SquadronError =>
    new SquadronError("no_capacity", message, { details: { limit, retryAfter: Math.ceil(waitMs / 1_000) } });

  const tooMany = (): SquadronError =>
    full(`${maxWaiting} sessions already wait for a place in this node; try again later.`);

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
          resolve,
          reject,
          cancelTimer: clock.after(waitMs, () => {
            if (remove(waiter))
              reject(full("Every place of this node is taken by a session at work; try again later."));
          }),
        };
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
