import { LRUCache } from "lru-cache";
import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";

const most = 20;
const withinMs = 60_000;
const addresses = 10_000;

/** How often it has been tried to sign in with keys that are none. */
export interface SignInAttempts {
  /** Counts as a failure until it is given back. Throws `rate_limited` after 20 of this address within a minute. */
  begin(address: string): void;
  /** It was none. */
  giveBack(address: string): void;
}

export const createSignInAttempts = (clock: Clock): SignInAttempts => {
  const failures = new LRUCache<string, { readonly since: number; readonly count: number }>({
    max: addresses,
  });
  const recent = (address: string) => {
    const found = failures.get(address);
    return found !== undefined && clock.monotonic() - found.since < withinMs ? found : undefined;
  };
  return {
    begin(address) {
      const { since, count } = recent(address) ?? { since: clock.monotonic(), count: 0 };
      if (count >= most)
        throw new SquadronError("rate_limited", "Too many attempts to sign in have failed; wait a minute.", {
          details: { retryAfter: Math.ceil((since + withinMs - clock.monotonic()) / 1_000) },
        });
      failures.set(address, { since, count: count + 1 });
    },
    giveBack(address) {
      const found = recent(address);
      if (found !== undefined) failures.set(address, { ...found, count: Math.max(0, found.count - 1) });
    },
  };
};
