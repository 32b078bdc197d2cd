import type { RetireReason } from "./life.ts";
import type { ProcessFigures } from "./process-table.ts";
import type { TurnTimes } from "./turn-times.ts";

/** What is known of a runtime. */
export interface RuntimeFacts extends ProcessFigures {
  readonly ageMs: number;
  readonly turns: TurnTimes;
}

/** From when on a runtime is worn out. */
export interface WearLimits {
  readonly turns: number;
  readonly memoryBytes: number;
  readonly ageMs: number;
}

/** Part of the files that a process may have open at which it is replaced, before it cannot open one more. */
const openFilesShare = 0.8;
/** Lately so many times slower than at first, and by so much, that it is the runtime and not a slow model now and then. */
const slow = { factor: 3, byMs: 250 };

/** Why a runtime is worn out; undefined if it is not. */
export const verdict = (facts: RuntimeFacts, limits: WearLimits): RetireReason | undefined => {
  const { ageMs, turns, memoryBytes, openFiles, maxOpenFiles } = facts;
  if (turns.count >= limits.turns) return "turns";
  if (memoryBytes !== undefined && memoryBytes >= limits.memoryBytes) return "memory";
  if (openFiles !== undefined && maxOpenFiles !== undefined && openFiles >= maxOpenFiles * openFilesShare)
    return "open_files";
  if (isSlow(turns)) return "slow";
  if (ageMs >= limits.ageMs) return "age";
  return undefined;
};

const isSlow = ({ firstMs, recentMs }: TurnTimes): boolean =>
  firstMs !== undefined &&
  recentMs !== undefined &&
  recentMs >= firstMs * slow.factor &&
  recentMs - firstMs >= slow.byMs;

/** A runtime's part in the memory of all. */
export interface MemoryShare {
  readonly memoryBytes: number;
  /** It is on its way out already. */
  readonly leaving: boolean;
}

/**
 * Whom to replace so that all together stay within the budget: the fattest that is not leaving, if what is leaving
 * does not suffice. Undefined: nobody.
 */
export const overBudget = <Share extends MemoryShare>(
  shares: readonly Share[],
  budget: number,
): Share | undefined => {
  const staying = shares.filter(({ leaving }) => !leaving);
  const sum = staying.reduce((bytes, { memoryBytes }) => bytes + memoryBytes, 0);
  if (sum <= budget) return undefined;
  return staying.reduce((fattest, one) => (one.memoryBytes > fattest.memoryBytes ? one : fattest));
};
