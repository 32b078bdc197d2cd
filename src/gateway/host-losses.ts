import type { Runtime } from "../fleet/fleet.ts";
import { type SquadronError, toSquadronError } from "../kernel/errors.ts";
import type { Log } from "../telemetry/log.ts";
import { runtimeGone } from "./acceptances.ts";
import type { EventIntake } from "./host-events.ts";
import type { HostTurns } from "./host-turns.ts";
import { runtimeOf } from "./life.ts";
import type { OwnWork } from "./own-work.ts";
import type { SessionStay } from "./session-stay.ts";
import type { SessionUpstream } from "./session-upstream.ts";

/**
 * What a session does in its runtime can be lost: each way ends what runs, tells the clients, and lets the session go on
 * from its last commit.
 */
export interface HostLosses {
  /** Its runtime has died or been killed. */
  runtimeClosed(runtime: Runtime): void;
  /** Another node has it, or may have. */
  takenOver(): void;
  /** What cannot be stored has not happened. A session that has left its runtime meanwhile goes on so anyway. */
  notStored(error: unknown): void;
  /** A turn that nobody queued takes longer than a turn may, and does not let itself be aborted. */
  stuck(): void;
}

const takenOverMessage =
  "Another node has taken this session over; the turn was interrupted here. Send the message again if you want it answered.";

const stuckMessage =
  "A turn that nobody had sent took longer than a turn may; what it did since counts as not done.";

/** What a turn did cannot be stored for a reason that is still there when the same is sent again. */
const lasting: ReadonlySet<string> = new Set(["too_large", "unprocessable"]);

const notStoredMessage = ({ code, message }: SquadronError): string => {
  const again = lasting.has(code) ? "" : "; send the message again if you want it answered";
  return `What this turn did could not be stored and counts as not done${again}. ${message}`;
};

export const createHostLosses = (options: {
  readonly session: string;
  readonly upstream: Pick<SessionUpstream, "life" | "lost">;
  readonly stay: Pick<SessionStay, "dropping" | "dropSoon">;
  readonly turns: Pick<HostTurns, "current" | "announce" | "interrupt">;
  readonly ownWork: Pick<OwnWork, "inTurn">;
  readonly intake: Pick<EventIntake, "quiet">;
  /** The end of its runtime has been told. */
  readonly onTold: () => void;
  readonly log: Log;
}): HostLosses => {
  const { session, upstream, stay, turns, ownWork, intake, log } = options;

  const runtimeClosed: HostLosses["runtimeClosed"] = (runtime) => {
    if (runtimeOf(upstream.life) !== runtime) return;
    const turn = turns.current;
    const running = turn?.state.kind === "running";
    const told = intake.quiet();
    const alone = ownWork.inTurn;
    upstream.lost();
    // An end that is being stored counts if it can be. One that is still being submitted is told by its own call
    // whether a runtime has got it.
    told.then(() => {
      if (running && turns.current === turn) turns.interrupt(runtimeGone);
      else if (alone) turns.announce(runtimeGone);
      options.onTold();
    });
  };

  const throwOut = (message: string): void => {
    const { life } = upstream;
    if (life.kind !== "live" || stay.dropping) return;
    if (life.runtime.gone) {
      runtimeClosed(life.runtime);
      return;
    }
    const alone = ownWork.inTurn && turns.current === undefined;
    stay.dropSoon();
    if (alone) turns.announce(message);
    else turns.interrupt(message);
  };

  return {
    runtimeClosed,
    takenOver: () => throwOut(takenOverMessage),
    notStored(error) {
      log.error({ session, error }, "what the session did could not be stored");
      throwOut(notStoredMessage(toSquadronError(error)));
    },
    stuck: () => throwOut(stuckMessage),
  };
};
