import type { Claim, LeaseTable } from "./lease-table.ts";

/** Leases in the memory of one process. Everybody who is to exclude each other shares one table. */
export const createMemoryTable = (): LeaseTable => {
  const aliveUntil = new Map<string, number>();
  const leases = new Map<string, Pick<Claim, "token" | "holder">>();
  /** The line of each name: in order. */
  const lines = new Map<string, Pick<Claim, "token" | "holder">[]>();
  const listeners = new Set<(name: string) => void>();

  const freed = (name: string): void => {
    for (const listener of listeners) listener(name);
  };

  const isAlive = (holder: string, now: number): boolean => (aliveUntil.get(holder) ?? 0) > now;

  const leaveLine = (name: string, mine: (waiter: Pick<Claim, "token" | "holder">) => boolean): void => {
    const left = (lines.get(name) ?? []).filter((waiter) => !mine(waiter));
    if (left.length === 0) lines.delete(name);
    else lines.set(name, left);
  };

  return {
    async take({ name, token, holder, now, until }) {
      aliveUntil.set(holder, Math.max(until, aliveUntil.get(holder) ?? 0));
      const line = lines.get(name) ?? [];
      const lease = leases.get(name);
      const first = line.find((waiter) => waiter.token === token || isAlive(waiter.holder, now));
      const blocker =
        lease !== undefined && isAlive(lease.holder, now)
          ? lease
          : first !== undefined && first.token !== token
            ? first
            : undefined;
      if (blocker === undefined) {
        leases.set(name, { token, holder });
        leaveLine(name, (waiter) => waiter.token === token);
        return { kind: "taken" };
      }
      if (!line.some((waiter) => waiter.token === token)) lines.set(name, [...line, { token, holder }]);
      return { kind: "held", until: aliveUntil.get(blocker.holder) ?? now };
    },
    async renew({ holder, until }) {
      aliveUntil.set(holder, until);
      return [...leases].flatMap(([name, lease]) =>
        lease.holder === holder ? [{ name, token: lease.token }] : [],
      );
    },
    async drop({ name, token }) {
      if (leases.get(name)?.token === token) leases.delete(name);
      leaveLine(name, (waiter) => waiter.token === token);
      freed(name);
    },
    async forget(holder) {
      aliveUntil.delete(holder);
      for (const [name, lease] of leases) if (lease.holder === holder) leases.delete(name);
      for (const name of lines.keys()) leaveLine(name, (waiter) => waiter.holder === holder);
      for (const name of lines.keys()) freed(name);
    },
    onFreed(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
};
