import type { Server } from "node:net";

/** So many turns of the loop without a new connection: what ran before the first may have come after its look for one. */
const quietTurns = 2;
/** More than the system keeps waiting. */
const maxTurns = 10_000;

/**
 * Resolves when every client that has connected by now is taken in, to be called just before the server stops listening:
 * the system resets the connections of those that are not. Only one is taken in each turn of the loop.
 */
export const takeIn = async (server: Server): Promise<void> => {
  let quiet = 0;
  const taken = (): void => {
    quiet = 0;
  };
  server.on("connection", taken);
  for (let turn = 0; quiet < quietTurns && turn < maxTurns; turn++) {
    quiet++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  server.off("connection", taken);
};
