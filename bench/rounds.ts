/** The names in the order of this round: each round begins with another, so that no place in it favours anybody. */
export const inTurn = <Name extends string>(names: readonly Name[], round: number): readonly Name[] =>
  names.map((name, index) => names[(((index + round) % names.length) + names.length) % names.length] ?? name);

/** An empty list for each name. */
export const lists = <Name extends string, T = number>(names: readonly Name[]): Record<Name, T[]> =>
  Object.fromEntries(names.map((name) => [name, [] as T[]])) as Record<Name, T[]>;

/** What `of` makes of each name's value. */
export const each = <Name extends string, T, Result>(
  values: Readonly<Record<Name, T>>,
  of: (value: T) => Result,
): Record<Name, Result> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, of(value as T)])) as Record<
    Name,
    Result
  >;

/** Milliseconds that the work took. */
export const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
};
