import type { TurnOutcome } from "../sessions/turn.ts";
import { watchEnd } from "./end-watch.ts";
import { isDoubtful, isGiving, type TurnRun } from "./turn-run.ts";
import type { TurnRunnerOptions } from "./turn-vocabulary.ts";

/** How long a turn that was told to abort may take to say that it is idle. */
const abortGraceMs = 10_000;

/** Aborts runs, and sees to it that they end though the runtime does not say so. */
export interface TurnAbort {
  /** Aborts this run and no later one, however long the way to the runtime is. */
  abort(run: TurnRun): Promise<void>;
  /** Aborts a run that has taken too long, and ends it at the latest a while later. */
  timeOut(run: TurnRun): void;
  /** Has the end of a run told when the runtime has forgotten it, as long as that is to be feared. */
  watch(run: TurnRun): void;
}

export const createTurnAbort = (
  options: Pick<
    TurnRunnerOptions,
    "clock" | "turnTimeoutMs" | "abortUpstream" | "isProcessing" | "eventsTakenIn" | "onEndLost" | "onStuck"
  >,
  current: {
    readonly is: (run: TurnRun) => boolean;
    /** Throws if this run is not the current one any more. */
    readonly assert: (run: TurnRun) => void;
    readonly finish: (run: TurnRun, outcome: TurnOutcome) => void;
  },
): TurnAbort => {
  const { clock } = options;

  /** The runtime does nothing any more, and has not told the end. */
  const endLost = async (run: TurnRun): Promise<void> => {
    // A message that it keeps would come up in a later turn.
    await options.abortUpstream(() => current.assert(run));
    // The end may have come and wait until something before it is stored.
    await options.eventsTakenIn();
    if (current.is(run) && isDoubtful(run)) options.onEndLost(run.aborting);
  };

  const watch = (run: TurnRun): void => {
    run.cancelWatch();
    run.cancelWatch = watchEnd({
      clock,
      isDoubtful: () => current.is(run) && isDoubtful(run),
      isProcessing: async () => isGiving(run) || options.isProcessing(),
      onLost: () => endLost(run),
    });
  };

  const abort = async (run: TurnRun): Promise<void> => {
    if (run.over) return;
    const watched = isDoubtful(run);
    run.aborting = true;
    if (!watched) watch(run);
    try {
      await options.abortUpstream(() => current.assert(run));
    } catch (error) {
      if (current.is(run)) throw error;
    }
  };

  return {
    abort,
    timeOut(run) {
      run.progress.timedOut(`The turn took longer than ${options.turnTimeoutMs} ms and was aborted.`);
      const giveUp = (): void => {
        if (!current.is(run)) return;
        options.onStuck();
        current.finish(run, run.progress.outcome());
      };
      run.cancelTimer = clock.after(abortGraceMs, giveUp);
      abort(run).catch(giveUp);
    },
    watch,
  };
};
