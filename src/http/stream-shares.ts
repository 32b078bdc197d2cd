import { SquadronError } from "../kernel/errors.ts";
import type { Principal } from "../kernel/principal.ts";

/** Event streams that one user may have open. */
const most = 1_000;

/** How many event streams each user has open. */
export interface StreamShares {
  /** Rejects with `rate_limited`, and does not work, when the user has too many. */
  within<T>(user: Pick<Principal, "tenant" | "user">, work: () => Promise<T>): Promise<T>;
}

export const createStreamShares = (): StreamShares => {
  const open = new Map<string, number>();
  return {
    async within({ tenant, user }, work) {
      const key = JSON.stringify([tenant, user]);
      const mine = open.get(key) ?? 0;
      if (mine >= most)
        throw new SquadronError("rate_limited", `You have ${most} event streams open; close some.`);
      open.set(key, mine + 1);
      try {
        return await work();
      } finally {
        const left = (open.get(key) ?? 1) - 1;
        if (left > 0) open.set(key, left);
        else open.delete(key);
      }
    },
  };
};
