import type { Policy } from "../config/config.ts";
import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Principal } from "../kernel/principal.ts";
import type { Usage } from "../models/grant.ts";
import type { Store, TokenTotals } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";

type Who = Pick<Principal, "tenant" | "user">;

/** The tokens that a tenant, and each of its users, may use in a day (UTC). Stored, so that all nodes count together. */
export interface TokenBudgets {
  /**
   * Rejects when the day's tokens are used up: `quota_exceeded` with `limit`, its name, `value`, and `retryAfter`, the
   * seconds until the next day; or as the store does.
   */
  assertLeft(who: Who, limits: Policy["limits"]): Promise<void>;
  /** Counts what a model call took. Without a limit nothing is counted. */
  used(who: Who, limits: Policy["limits"], usage: Pick<Usage, "inputTokens" | "outputTokens">): void;
  /** What `assertLeft` would reject with, by the last that this node has heard. */
  spent(who: Who, limits: Policy["limits"]): SquadronError | undefined;
  /** Resolves when what has been counted is stored. */
  flush(): Promise<void>;
}

const dayMs = 86_400_000;

interface Bound {
  readonly key: string;
  readonly limit: "tokensPerDay" | "tokensPerDayPerUser";
  readonly value: number;
  readonly of: keyof TokenTotals;
}

const boundsOf = (
  { tenant, user }: Who,
  { tokensPerDay, tokensPerDayPerUser }: Policy["limits"],
): readonly Bound[] => [
  ...(tokensPerDay === undefined
    ? []
    : [{ key: JSON.stringify([tenant]), limit: "tokensPerDay", value: tokensPerDay, of: "tenant" } as const]),
  ...(tokensPerDayPerUser === undefined
    ? []
    : [
        {
          key: JSON.stringify([tenant, user]),
          limit: "tokensPerDayPerUser",
          value: tokensPerDayPerUser,
          of: "user",
        } as const,
      ]),
];

export const createTokenBudgets = (options: {
  readonly store: Pick<Store, "tokens">;
  readonly clock: Clock;
  readonly log: Log;
}): TokenBudgets => {
  const { store, clock, log } = options;
  /** Tokens of the day by tenant and user, as far as this node knows. */
  const known = new Map<string, number>();
  let knownOf = 0;
  let written: Promise<unknown> = Promise.resolve();

  const today = (): number => Math.floor(clock.now() / dayMs);

  const knownToday = (): Map<string, number> => {
    const day = today();
    if (knownOf !== day) known.clear();
    knownOf = day;
    return known;
  };

  /** Totals only grow: the larger is the newer. */
  const note = (bounds: readonly Bound[], day: number, totals: TokenTotals): void => {
    const tokens = knownToday();
    if (day !== knownOf) return;
    for (const { key, of } of bounds) tokens.set(key, Math.max(tokens.get(key) ?? 0, totals[of]));
  };

  const exceeded = ({ limit, value }: Bound): SquadronError => {
    const retryAfter = Math.ceil(((today() + 1) * dayMs - clock.now()) / 1_000);
    const whose = limit === "tokensPerDay" ? "Your tenant has" : "You have";
    return new SquadronError(
      "quota_exceeded",
      `${whose} used up the ${value} tokens of this day; the next one begins at midnight UTC, in ${retryAfter} s.`,
      { details: { limit, value, retryAfter } },
    );
  };

  const spent: TokenBudgets["spent"] = (who, limits) => {
    const tokens = knownToday();
    const found = boundsOf(who, limits).find(({ key, value }) => (tokens.get(key) ?? 0) >= value);
    return found && exceeded(found);
  };

  return {
    spent,
    async assertLeft(who, limits) {
      const bounds = boundsOf(who, limits);
      if (bounds.length === 0) return;
      await written;
      const day = today();
      note(bounds, day, await store.tokens.of({ day, tenant: who.tenant, user: who.user }));
      const error = spent(who, limits);
      if (error !== undefined) throw error;
    },
    used(who, limits, { inputTokens, outputTokens }) {
      const bounds = boundsOf(who, limits);
      if (bounds.length === 0) return;
      const day = today();
      const { tenant, user } = who;
      const more = inputTokens + outputTokens;
      const tokens = knownToday();
      // The next call of this turn does not wait for the store.
      for (const { key } of bounds) tokens.set(key, (tokens.get(key) ?? 0) + more);
      written = written
        .then(() => store.tokens.add({ day, tenant, user }, more))
        .then((totals) => note(bounds, day, totals))
        .catch((error) => log.error({ error }, "the tokens of a model call were not counted"));
    },
    async flush() {
      await written;
    },
  };
};
