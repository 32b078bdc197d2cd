import type { Policy } from "../config/config.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Principal } from "../kernel/principal.ts";
import type { Store } from "../store/store.ts";

/** A place among the sessions that a tenant and its user may have. Exactly one of the two must be called, once. */
export interface QuotaPlace {
  /** Stores the session; from then on the store counts it. */
  fill<T>(create: () => Promise<T>): Promise<T>;
  /** It was not made after all. */
  giveBack(): void;
}

/** How many sessions there may be, exactly, however many are made at once. One-shot sessions do not count. */
export interface SessionQuota {
  /** Rejects with `quota_exceeded` (details: `limit`, its name, and `value`). */
  take(owner: Pick<Principal, "tenant" | "user">, limits: Policy["limits"]): Promise<QuotaPlace>;
}

const unlimited: QuotaPlace = { fill: (create) => create(), giveBack: () => undefined };

const exceeded = (limit: "sessionsPerUser" | "sessionsPerTenant", value: number): SquadronError =>
  new SquadronError(
    "quota_exceeded",
    `${limit === "sessionsPerUser" ? "You have" : "Your tenant has"} ${value} sessions, and may have no more; delete one first.`,
    { details: { limit, value } },
  );

/** Counts, and what changes them, one after the other. */
interface Tenant {
  /** By user: places that are taken and not filled yet. */
  readonly taken: Map<string, number>;
  last: Promise<unknown>;
  /** Operations under way and places taken. */
  uses: number;
}

export const createSessionQuota = (store: Pick<Store, "sessions">): SessionQuota => {
  const tenants = new Map<string, Tenant>();

  const inOrder = <T>(name: string, work: (tenant: Tenant) => Promise<T>): Promise<T> => {
    const tenant = tenants.get(name) ?? { taken: new Map(), last: Promise.resolve(), uses: 0 };
    tenants.set(name, tenant);
    tenant.uses++;
    const done = tenant.last.then(() => work(tenant)).finally(() => unuse(name, tenant));
    tenant.last = done.catch(() => undefined);
    return done;
  };

  const unuse = (name: string, tenant: Tenant): void => {
    tenant.uses--;
    if (tenant.uses === 0) tenants.delete(name);
  };

  const check = async (
    limit: "sessionsPerUser" | "sessionsPerTenant",
    value: number | undefined,
    taken: number,
    count: () => Promise<number>,
  ): Promise<void> => {
    if (value !== undefined && (await count()) + taken >= value) throw exceeded(limit, value);
  };

  return {
    take: ({ tenant, user }, { sessionsPerUser, sessionsPerTenant }) => {
      if (sessionsPerUser === undefined && sessionsPerTenant === undefined) return Promise.resolve(unlimited);
      return inOrder(tenant, async (counts) => {
        const { taken } = counts;
        const mine = taken.get(user) ?? 0;
        const all = [...taken.values()].reduce((sum, one) => sum + one, 0);
        await check("sessionsPerUser", sessionsPerUser, mine, () => store.sessions.countOf(tenant, user));
        await check("sessionsPerTenant", sessionsPerTenant, all, () => store.sessions.countOf(tenant));
        taken.set(user, mine + 1);
        counts.uses++;
        const giveBack = (): void => {
          const left = (taken.get(user) ?? 0) - 1;
          if (left > 0) taken.set(user, left);
          else taken.delete(user);
          unuse(tenant, counts);
        };
        return { giveBack, fill: (create) => inOrder(tenant, () => create().finally(giveBack)) };
      });
    },
  };
};
