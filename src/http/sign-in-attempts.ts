import { LRUCache } from "lru-cache";
import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";

const most = 20;
const withinMs = 60_000;
const addresses = 10_000;

/** How often it has been tried to sign in with keys that are none. */
export interface SignInAttempts {
  /** Throws `rate_limited` after 20 failures of this address within a minute. */
  check(address: string): void;
  failed(address: string): void;
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
    check(address) {
      const found = recent(address);
      if (found === undefined || found.count < most) return;
      throw new SquadronError("rate_limited", "Too many attempts to sign in have failed; wait a minute.", {
        details: { retryAfter: Math.ceil((found.since + withinMs - clock.monotonic()) / 1_000) },
      });
    },
    failed(address) {
      const { since, count } = recent(address) ?? { since: clock.monotonic(), count: 0 };
      failures.set(address, { since, count: count + 1 });
    },
  };
};
