/** What has been started, to be closed in the opposite order, once. */
export interface Parts {
  /** To be called when all is closed, before what was deferred earlier. */
  defer(close: () => Promise<void>): void;
  /** Closes everything, the last first, whatever fails on the way; rejects with all failures together. */
  close(): Promise<void>;
}

export const createParts = (): Parts => {
  const started: (() => Promise<void>)[] = [];
  let closing: Promise<void> | undefined;
  const closeAll = async (): Promise<void> => {
    const errors: unknown[] = [];
    for (const close of started.reverse()) await close().catch((error: unknown) => errors.push(error));
    if (errors.length > 0)
      throw new AggregateError(errors, "Not everything that was started could be closed.");
  };
  return {
    defer: (close) => started.push(close),
    close: () => {
      closing ??= closeAll();
      return closing;
    },
  };
};
