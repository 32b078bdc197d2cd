/** How many calls of one user are begun before everybody else gets a turn. */
const callsPerRound = 32;

/**
 * Many calls are answered without ever waiting for the network or a runtime: a client that sends thousands at once would
 * keep the whole node busy until the last of them. So each user's calls go on in rounds of the event loop, first in first out.
 */
export interface FairShare {
  /** The way to one's turn; `undefined` when it is one's turn now. */
  take(): Promise<void> | undefined;
}

export const createFairShare = (): FairShare => {
  let left = callsPerRound;
  let nextRound: Promise<void> | undefined;

  const newRound = (): Promise<void> =>
    new Promise((resolve) => {
      setImmediate(() => {
        left = callsPerRound;
        nextRound = undefined;
        resolve();
      });
    });

  const wait = async (): Promise<void> => {
    while (left === 0) {
      nextRound ??= newRound();
      await nextRound;
    }
    left--;
  };

  return {
    take() {
      if (left === 0) return wait();
      left--;
      nextRound ??= newRound();
      return undefined;
    },
  };
};
