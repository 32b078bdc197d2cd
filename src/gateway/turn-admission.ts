import type { Policy } from "../config/config.ts";
import type { Principal } from "../kernel/principal.ts";
import type { HostServices } from "./host-services.ts";
import type { CountedTurn } from "./turn-rates.ts";

/** May this user begin one more turn now? Rejects with `rate_limited` or `quota_exceeded`; it is counted otherwise. */
export const admitTurn = async (
  { tokenBudgets, turnRates }: Pick<HostServices, "tokenBudgets" | "turnRates">,
  who: Pick<Principal, "tenant" | "user">,
  limits: Policy["limits"],
): Promise<CountedTurn> => {
  await tokenBudgets.assertLeft(who, limits);
  return turnRates.take(who, limits);
};
