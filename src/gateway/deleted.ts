import { SquadronError } from "../kernel/errors.ts";

export const sessionDeleted = (): SquadronError =>
  new SquadronError("session_deleted", "The session has been deleted.");

/** The work's value; `undefined` when it found that the session has been deleted meanwhile. */
export const unlessDeleted = async <T>(work: Promise<T>): Promise<T | undefined> => {
  try {
    return await work;
  } catch (error) {
    if (error instanceof SquadronError && error.code === "session_deleted") return undefined;
    throw error;
  }
};
