const recentTurns = 50;
/** Turns of the first hour that are remembered, and how many there must be for a comparison. */
const firstTurns = { most: 200, fewest: 20, withinMs: 3_600_000 };

/**
 * How long a runtime's turns take that run alone in it: at first, and lately. Medians in milliseconds, absent while
 * there are too few. Those that share it take longer, and that is no sign of wear.
 */
export interface TurnTimes {
  /** All turns. */
  readonly count: number;
  readonly firstMs?: number;
  readonly recentMs?: number;
}

/** Counts the turns of one runtime. */
export interface TurnCounter {
  began(): void;
  /** A turn has ended that took `ms`, so long after the runtime had become ready. */
  ended(ms: number, runtimeAgeMs: number): void;
  readonly times: TurnTimes;
}

export const createTurnCounter = (): TurnCounter => {
  const first: number[] = [];
  const recent: number[] = [];
  let count = 0;
  let running = 0;
  /** Several have run at once since none ran. */
  let shared = false;
  return {
    began() {
      running += 1;
      shared ||= running > 1;
    },
    ended(ms, runtimeAgeMs) {
      const alone = !shared;
      count += 1;
      running -= 1;
      if (running === 0) shared = false;
      if (!alone) return;
      if (runtimeAgeMs <= firstTurns.withinMs && first.length < firstTurns.most) first.push(ms);
      recent.push(ms);
      if (recent.length > recentTurns) recent.shift();
    },
    get times() {
      return {
        count,
        ...(first.length >= firstTurns.fewest && { firstMs: median(first) }),
        ...(recent.length === recentTurns && { recentMs: median(recent) }),
      };
    },
  };
};

const median = (values: readonly number[]): number =>
  [...values].sort((one, other) => one - other)[Math.floor(values.length / 2)] ?? 0;
