import { join } from "node:path";
import { withDeadline } from "../kernel/deadline.ts";
import { SquadronError } from "../kernel/errors.ts";
import { newId } from "../kernel/ids.ts";
import type { Unit } from "../kernel/isolation.ts";
import type { Log } from "../telemetry/log.ts";
import type { Peer, PeerHandler } from "../wire/peer.ts";
import { type Housing, type HousingSettings, handshake, house } from "./housing.ts";
import {
  type Exit,
  type Life,
  type LifeEvent,
  neverRan,
  newLife,
  nextLife,
  type RetireReason,
  type StopReason,
} from "./life.ts";
import { askIfAlive } from "./probe.ts";
import type { InsidePaths, Owner } from "./sandbox/confinement.ts";
import { warmUp } from "./warm-up.ts";

/** A runtime that has answered and belongs to a unit. Paths are those of the host; they exist as long as the process. */
export interface Runtime {
  readonly id: string;
  readonly unit: Unit;
  readonly pid: number;
  /** Its COPILOT_HOME. */
  readonly home: string;
  /** Its HOME, in which `home` lies. */
  readonly homeDirectory: string;
  readonly workingDirectory: string;
  /** Is the working directory this process's own, and so part of the unit's state, or the operator's for all? */
  readonly ownsWorkingDirectory: boolean;
  /** What it calls these paths itself; the same unless it is in a sandbox. */
  readonly inside: InsidePaths;
  /** To whom files that are put there must belong; undefined: to us. */
  readonly owner: Owner | undefined;
  readonly version: string;
  readonly peer: Peer;
  /** It takes nothing any more: its process has ended, or is being killed. Its files are removed only after that. */
  readonly gone: boolean;
  /** Resolves when the process has ended and all that it wrote before has been handled. Never rejects. */
  readonly closed: Promise<void>;
  /** Where it keeps the files of a session. */
  sessionDirectory(sessionId: string): string;
  /** Kills the process and all that it started. Requests in flight reject at once; rejects with `timeout` if something stays. */
  kill(): Promise<void>;
}

/** One process from the decision to start it until it is gone. */
export interface RuntimeLife {
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  readonly life: Life;
  readonly pid: number | undefined;
  readonly peer: Peer | undefined;
  /** Undefined: a spare. */
  readonly unit: Unit | undefined;
  /** The runtime while it is ready, or retiring. */
  readonly runtime: Runtime | undefined;
  /** Rejects with `runtime_start_failed`, or with `runtime_gone` if it was stopped meanwhile. */
  readonly answered: Promise<void>;
  /**
   * Gives it to a unit, once. Resolves when it has answered and the unit's files are there; rejects like `answered`, or
   * with the error that populating it had.
   */
  bind(unit: Unit): Promise<Runtime>;
  retire(reason: RetireReason): void;
  /** The process has ended, and what it wrote has been handled; or it cannot be killed. */
  readonly gone: Promise<void>;
  /** Everything of it is removed. Never rejects. */
  readonly cleared: Promise<void>;
  stop(reason: StopReason): Promise<void>;
}

export interface RuntimeSettings extends HousingSettings {
  readonly startTimeoutMs: number;
  readonly log: Log;
  /** Settles before the first process is started. */
  readonly swept: Promise<void>;
  readonly populate: (runtime: Runtime) => Promise<void>;
  readonly serve: (runtime: Runtime) => PeerHandler;
}

/** Starts a runtime that belongs to no unit yet. Never throws: what goes wrong is in `answered` and in the log. */
export const startRuntime = (settings: RuntimeSettings, kind: "cold" | "warm" = "cold"): RuntimeLife => {
  const { clock } = settings;
  const id = newId("run");
  let log = settings.log.child({ runtime: id });
  const startedAt = clock.now();
  const began = clock.monotonic();
  const gone = Promise.withResolvers<void>();
  const cleared = Promise.withResolvers<void>();

  let life: Life = newLife;
  let housing: Housing | undefined;
  let unit: Unit | undefined;
  let runtime: Runtime | undefined;
  let version = "";
  let populating: Promise<void> | undefined;
  const happen = (event: LifeEvent) => {
    life = nextLife(life, event);
  };

  const stop = async (reason: StopReason): Promise<void> => {
    happen({ kind: "stop", reason });
    housing?.peer.close(new SquadronError("runtime_gone", "The runtime was stopped."));
    try {
      await housing?.box.empty();
    } catch (error) {
      // Not even the kernel can end it now. Nobody shall wait for it; `finish` clears up if it ever ends.
      happen({ kind: "exited", exit: neverRan });
      gone.resolve();
      cleared.resolve();
      throw error;
    }
    await gone.promise;
  };

  /** The end, whoever brought it about: what was written is read, what was started is killed, then it is told. */
  const finish = async ({ box, peer, vacate }: Housing, exit: Exit): Promise<void> => {
    const emptied = box.empty().then(
      () => true,
      (error) => {
        log.error({ error }, "a runtime left something behind");
        return false;
      },
    );
    await Promise.race([peer.closed, emptied]);
    peer.close(new SquadronError("runtime_gone", "The runtime has ended."));
    happen({ kind: "exited", exit });
    const reason = "reason" in life ? life.reason : "by_itself";
    if (reason === "by_itself" || reason === "unresponsive")
      log.warn({ reason, ...exit }, "a runtime ended, and nobody had asked for it");
    else log.info({ reason, ...exit }, "a runtime has ended");
    gone.resolve();
    // Who still puts files there must not make the directory anew while it is removed.
    await inTime(populating).catch(() => undefined);
    if (await emptied) await vacate();
  };

  const inTime = (work: Promise<void> | undefined): Promise<void> =>
    withDeadline(work ?? Promise.resolve(), {
      clock,
      ms: settings.startTimeoutMs,
      what: "Restoring a unit's files",
    });

  const msLeft = (): number => Math.max(0, Math.round(settings.startTimeoutMs - (clock.monotonic() - began)));

  const start = async (): Promise<void> => {
    try {
      await settings.swept;
      mustBe("starting");
      const opened = await house(settings, log);
      housing = opened;
      // From here on the process's own end is what ends this life.
      opened.box.exited
        .then((exit) => finish(opened, exit))
        .catch((error) => log.warn({ error }, "a box could not be removed"))
        .finally(cleared.resolve);
      opened.peer.closed
        .then(() => stop("by_itself"))
        .catch((error) => log.error({ error }, "a runtime could not be ended"));
      mustBe("starting");
      version = await withDeadline(handshake(opened.peer), {
        clock,
        ms: msLeft(),
        what: "The first answer",
      });
      if (kind === "warm") await warmUp(opened.peer, opened.serve, { clock, ms: msLeft() });
      mustBe("starting");
      happen({ kind: "answered" });
      log.info(
        { pid: opened.box.pid, version, ms: Math.round(clock.monotonic() - began) },
        "a runtime has answered",
      );
    } catch (error) {
      throw await failed(error);
    }
  };

  /** Ends what there is of a start that did not succeed; the error that its callers get. */
  const failed = async (cause: unknown): Promise<SquadronError> => {
    const stopped = life.state === "stopping" && life.reason !== "by_itself";
    happen({ kind: "stop", reason: "start_failed" });
    if (housing)
      await stop("start_failed").catch((error) => log.error({ error }, "a runtime could not be ended"));
    else {
      happen({ kind: "exited", exit: neverRan });
      gone.resolve();
      cleared.resolve();
    }
    if (stopped) return new SquadronError("runtime_gone", "The runtime was stopped while it started.");
    log.error(
      { error: cause, executable: settings.executable, stderr: housing?.errorLines() ?? [] },
      "a runtime could not be started",
    );
    return new SquadronError(
      "runtime_start_failed",
      "A runtime could not be started; the node's log has the reason.",
      { cause },
    );
  };

  const mustBe = (state: Life["state"]) => {
    if (life.state !== state) throw new SquadronError("runtime_gone", "The runtime was stopped.");
  };

  const runtimeOf = ({ place, seat, box, peer }: Housing, bound: Unit): Runtime => ({
    id,
    unit: bound,
    pid: box.pid,
    home: place.copilotHome,
    homeDirectory: place.home,
    workingDirectory: place.work,
    ownsWorkingDirectory: settings.workingDirectory === undefined,
    inside: seat.inside,
    owner: seat.owner,
    version,
    peer,
    get gone() {
      return life.state === "stopping" || life.state === "gone";
    },
    closed: gone.promise,
    sessionDirectory: (sessionId) => join(place.copilotHome, "session-state", sessionId),
    kill: () => stop("released"),
  });

  /** A spare may have died, or have hung, since its last probe. */
  const mustAnswer = async (peer: Peer): Promise<void> => {
    const outcome = await askIfAlive(peer, clock);
    if (outcome === "closed") await stop("by_itself");
    if (outcome === "silent") await stop("unresponsive");
  };

  const bind = async (bound: Unit): Promise<Runtime> => {
    unit = bound;
    await answered;
    happen({ kind: "bind" });
    mustBe("binding");
    if (housing === undefined)
      throw new SquadronError("internal", "A runtime has answered without a process.");
    log = log.child({ unit: bound.key });
    const given = runtimeOf(housing, bound);
    runtime = given;
    try {
      populating = settings.populate(given);
      await Promise.all([inTime(populating), mustAnswer(housing.peer)]);
      mustBe("binding");
      housing.serve(settings.serve(given));
    } catch (error) {
      // Its directory may hold a part of the unit's files: it is of no use to anybody.
      const wanted = life.state === "binding";
      await stop("start_failed").catch((failure) =>
        log.error({ error: failure }, "a runtime could not be ended"),
      );
      if (!wanted) throw new SquadronError("runtime_gone", "The runtime ended while it was prepared.");
      log.error({ error }, "a runtime could not be given its unit's files");
      throw error instanceof SquadronError
        ? error
        : new SquadronError("runtime_start_failed", "A runtime could not be given its files.", {
            cause: error,
          });
    }
    happen({ kind: "populated" });
    log.info({ pid: given.pid, version, ms: Math.round(clock.monotonic() - began) }, "a runtime is ready");
    return given;
  };

  const answered = start();
  // Nobody may be waiting any more; the failure has been logged.
  answered.catch(() => undefined);

  return {
    id,
    startedAt,
    answered,
    bind,
    retire: (reason) => happen({ kind: "retire", reason }),
    gone: gone.promise,
    cleared: cleared.promise,
    stop,
    get life() {
      return life;
    },
    get pid() {
      return housing?.box.pid;
    },
    get peer() {
      return housing?.peer;
    },
    get unit() {
      return unit;
    },
    get runtime() {
      return life.state === "ready" || life.state === "retiring" ? runtime : undefined;
    },
  };
};
