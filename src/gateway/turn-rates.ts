import type { Policy } from "../config/config.ts";
import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Principal } from "../kernel/principal.ts";

/** A message that has been counted. */
export interface CountedTurn {
  /** It was not taken after all. */
  giveBack(): void;
}

/** How many messages are taken in any minute, of a tenant and of each of its users. */
export interface TurnRates {
  /**
   * Counts a message. Rejects with `rate_limited`, and counts nothing, when there were as many within the last minute as
   * there may be; details: `limit`, its name, `value`, and `retryAfter`, whole seconds after which one more is taken.
   */
  take(who: Pick<Principal, "tenant" | "user">, limits: Policy["limits"]): Promise<CountedTurn>;
}

const windowMs = 60_000;

interface Bound {
  readonly key: string;
  readonly limit: "turnsPerMinute" | "turnsPerMinutePerUser";
  readonly value: number;
}

const boundsOf = (
  { tenant, user }: Pick<Principal, "tenant" | "user">,
  { turnsPerMinute, turnsPerMinutePerUser }: Policy["limits"],
): readonly Bound[] => [
  ...(turnsPerMinute === undefined
    ? []
    : [{ key: JSON.stringify([tenant]), limit: "turnsPerMinute", value: turnsPerMinute } as const]),
  ...(turnsPerMinutePerUser === undefined
    ? []
    : [
        {
          key: JSON.stringify([tenant, user]),
          limit: "turnsPerMinutePerUser",
          value: turnsPerMinutePerUser,
        } as const,
      ]),
];

const limited = ({ limit, value }: Bound, waitMs: number): SquadronError => {
  const retryAfter = Math.ceil(waitMs / 1_000);
  const whose = limit === "turnsPerMinute" ? "Your tenant has" : "You have";
  return new SquadronError(
    "rate_limited",
    `${whose} sent ${value} messages within a minute, and may send no more; try again in ${retryAfter} s.`,
    { details: { limit, value, retryAfter } },
  );
};

/** Counted in this process. What is older than a minute takes no memory. */
export const createTurnRates = (clock: Pick<Clock, "monotonic">): TurnRates => {
  /** Monotonic times of the messages, the oldest first; keys in the order of their last use. */
  const taken = new Map<string, number[]>();

  const dropOlder = (now: number): void => {
    for (const [key, times] of taken) {
      if ((times.at(-1) ?? 0) > now - windowMs) return;
      taken.delete(key);
    }
  };

  const within = (key: string, now: number): number[] => {
    const times = taken.get(key) ?? [];
    const first = times.findIndex((at) => at > now - windowMs);
    times.splice(0, first < 0 ? times.length : first);
    return times;
  };

  const waitOf = ({ key, value }: Bound, now: number): number => {
    const times = within(key, now);
    const leaves = times[times.length - value];
    return leaves === undefined ? 0 : leaves + windowMs - now;
  };

  const giveBack = (key: string, at: number): void => {
    const times = taken.get(key) ?? [];
    const place = times.lastIndexOf(at);
    if (place >= 0) times.splice(place, 1);
    if (times.length === 0) taken.delete(key);
  };

  return {
    async take(who, limits) {
      const now = clock.monotonic();
      dropOlder(now);
      const bounds = boundsOf(who, limits);
      const waits = bounds.map((bound) => ({ bound, ms: waitOf(bound, now) }));
      const longest = waits.reduce((most, one) => (one.ms > (most?.ms ?? 0) ? one : most), waits[0]);
      if (longest !== undefined && longest.ms > 0) throw limited(longest.bound, longest.ms);
      for (const { key } of bounds) {
        const times = taken.get(key) ?? [];
        times.push(now);
        taken.delete(key);
        taken.set(key, times);
      }
      return {
        giveBack() {
          for (const { key } of bounds) giveBack(key, now);
        },
      };
    },
  };
};
