import { SquadronError } from "../../kernel/errors.ts";

/** What a holder of a session gets that is not its newest one. */
export const sessionFenced = (): SquadronError =>
  new SquadronError(
    "fenced",
    "The session has gone on elsewhere or is deleted; what was done here is not kept.",
  );
