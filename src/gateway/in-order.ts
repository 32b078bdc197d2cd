/** Runs operations one after the other, in the order in which they were asked for. */
export interface InOrder {
  run<T>(operation: () => Promise<T>): Promise<T>;
  /** Operations that run or wait. */
  readonly pending: number;
}

export const createInOrder = (onDone: () => void): InOrder => {
  let last: Promise<unknown> = Promise.resolve();
  let pending = 0;
  return {
    run(operation) {
      pending++;
      const result = last.then(operation).finally(() => {
        pending--;
        onDone();
      });
      last = result.catch(() => undefined);
      return result;
    },
    get pending() {
      return pending;
    },
  };
};
