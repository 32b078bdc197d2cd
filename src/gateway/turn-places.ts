import type { Policy } from "../config/config.ts";
import type { Principal } from "../kernel/principal.ts";

type Who = Pick<Principal, "tenant" | "user">;

/** One of the places that a tenant has for running turns, or a wish for one. */
export interface TurnPlace {
  readonly held: boolean;
  /** Gives it back, or leaves the line. Once. */
  release(): void;
}

/** How many turns of a tenant, and of each of its users, run at once. Who finds no place waits: users by turns. */
export interface TurnPlaces {
  /** A place if there is one and nobody waits for it, else one in the line; `onHeld` is called when it comes. */
  take(who: Who, limits: Policy["limits"], onHeld: () => void): TurnPlace;
}

interface Waiter {
  readonly user: string;
  readonly tenantLimit: number;
  readonly userLimit: number;
  held: boolean;
  onHeld(): void;
}

interface Tenant {
  running: number;
  readonly runningOf: Map<string, number>;
  /** By user, in the order in which users are served next. */
  readonly waiting: Map<string, Waiter[]>;
}

const unlimited: TurnPlace = { held: true, release: () => undefined };

/** Of this process. */
export const createTurnPlaces = (): TurnPlaces => {
  const tenants = new Map<string, Tenant>();

  const mayRun = ({ running, runningOf }: Tenant, { user, tenantLimit, userLimit }: Waiter): boolean =>
    running < tenantLimit && (runningOf.get(user) ?? 0) < userLimit;

  const seat = (tenant: Tenant, waiter: Waiter): void => {
    tenant.running++;
    tenant.runningOf.set(waiter.user, (tenant.runningOf.get(waiter.user) ?? 0) + 1);
    waiter.held = true;
  };

  const unseat = (tenant: Tenant, { user }: Waiter): void => {
    tenant.running--;
    const left = (tenant.runningOf.get(user) ?? 0) - 1;
    if (left > 0) tenant.runningOf.set(user, left);
    else tenant.runningOf.delete(user);
  };

  const leaveLine = ({ waiting }: Tenant, waiter: Waiter): void => {
    const rest = (waiting.get(waiter.user) ?? []).filter((one) => one !== waiter);
    if (rest.length > 0) waiting.set(waiter.user, rest);
    else waiting.delete(waiter.user);
  };

  const toTheEnd = ({ waiting }: Tenant, user: string): void => {
    const line = waiting.get(user);
    waiting.delete(user);
    if (line !== undefined) waiting.set(user, line);
  };

  const serve = (tenant: Tenant): void => {
    for (;;) {
      const next = [...tenant.waiting.values()]
        .map(([first]) => first)
        .find((first) => first !== undefined && mayRun(tenant, first));
      if (next === undefined) return;
      leaveLine(tenant, next);
      toTheEnd(tenant, next.user);
      seat(tenant, next);
      next.onHeld();
    }
  };

  return {
    take({ tenant: name, user }, { concurrentTurns, concurrentTurnsPerUser }, onHeld) {
      if (concurrentTurns === undefined && concurrentTurnsPerUser === undefined) return unlimited;
      const tenant = tenants.get(name) ?? { running: 0, runningOf: new Map(), waiting: new Map() };
      tenants.set(name, tenant);
      const waiter: Waiter = {
        user,
        tenantLimit: concurrentTurns ?? Number.POSITIVE_INFINITY,
        userLimit: concurrentTurnsPerUser ?? Number.POSITIVE_INFINITY,
        held: false,
        onHeld,
      };
      // Whoever waits could not run: a free place is nobody's else.
      if (mayRun(tenant, waiter)) seat(tenant, waiter);
      else tenant.waiting.set(user, [...(tenant.waiting.get(user) ?? []), waiter]);
      return {
        get held() {
          return waiter.held;
        },
        release() {
          if (waiter.held) unseat(tenant, waiter);
          else leaveLine(tenant, waiter);
          serve(tenant);
          if (tenant.running === 0 && tenant.waiting.size === 0) tenants.delete(name);
        },
      };
    },
  };
};
