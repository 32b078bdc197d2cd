import { statSync } from "node:fs";
import { resolve } from "node:path";
import type { RuntimesConfig } from "../config/config.ts";
import type { Clock } from "../kernel/clock.ts";
import { withDeadline } from "../kernel/deadline.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Unit } from "../kernel/isolation.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { PeerHandler } from "../wire/peer.ts";
import { createBackOff, longestBackOffMs } from "./back-off.ts";
import { findLauncher } from "./box.ts";
import { removeFormerBoxes } from "./box-directory.ts";
import { runtimeExecutable } from "./executable.ts";
import type { RetireReason } from "./life.ts";
import { createPool, type Pool } from "./pool.ts";
import type { Runtime, RuntimeSettings } from "./runtime.ts";
import { createSandbox } from "./sandbox/sandbox.ts";

export type { FleetCondition } from "./circuit.ts";
export type { RetireReason } from "./life.ts";
export type { RuntimeStatus } from "./member.ts";
export type { Runtime } from "./runtime.ts";

/**
 * The node's runtimes: one per unit that takes new sessions, started when it is needed, beside it at most one that is
 * retiring; and some spares.
 */
export interface Fleet extends Omit<Pool, "present" | "provide"> {
  /**
   * The unit's runtime: the one that is there, a spare, or a new one. Parallel callers share one start; `signal` ends
   * only this caller's wait. Rejects with `no_capacity`, `runtime_start_failed` (at once, with `retryAfter` in seconds,
   * while every start fails), `runtime_gone`, `draining`, `cancelled`, `timeout`, or the error that `populate` had.
   */
  runtimeFor(unit: Unit, signal?: AbortSignal): Promise<Runtime>;
}

export interface FleetOptions {
  readonly config: RuntimesConfig;
  /** A directory of this node alone; what an earlier node on it has left is killed and removed. */
  readonly statePath: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Who answers what a runtime asks; called once for each, when it is ready. */
  readonly serve: (runtime: Runtime) => PeerHandler;
  /** Puts the unit's files there, before anybody gets the runtime. If it rejects, the runtime is killed. */
  readonly populate?: (runtime: Runtime) => Promise<void>;
  /**
   * Told at each probe of a ready runtime that should be replaced and whose unit has no retiring one. Who hears it
   * retires it or not, moves its sessions, and kills it.
   */
  readonly onWorn?: (runtime: Runtime, reason: RetireReason) => void;
  /** Called once for each runtime that was given to `populate`, when it is gone, for whatever reason. */
  readonly onClosed?: (runtime: Runtime) => void;
}

/** So many spares that turn out to be dead when they are needed are replaced for one caller. */
const mostDeadSpares = 2;

/** Throws `config_invalid` if the command or the working directory does not exist. */
export const createFleet = (options: FleetOptions): Fleet => {
  const { config, statePath, clock, log } = options;
  const executable = runtimeExecutable(config.command);
  const workingDirectory = commonWorkingDirectory(config.workingDirectory);
  const launcher = findLauncher();
  if (launcher.length === 0) {
    log.warn({}, "no setpriv here: a runtime with a running shell can outlive a node that is killed");
  }
  const sandbox = createSandbox({ config: config.sandbox, executable, statePath, log });
  const closing = new AbortController();

  const swept = sandbox
    .sweep()
    .catch((error) => log.error({ error }, "what boxes of an earlier node had left could not be removed"));
  const tidied = removeFormerBoxes(statePath, closing.signal).then(
    (count) => count > 0 && log.warn({ count }, "killed what runtimes of an earlier node had left"),
    (error) => log.error({ error }, "what runtimes of an earlier node had left could not be removed"),
  );

  const settings: RuntimeSettings = {
    launcher,
    executable,
    args: config.args,
    env: config.env,
    workingDirectory,
    startTimeoutMs: config.startTimeoutMs,
    statePath,
    sandbox,
    clock,
    log,
    swept,
    populate: async (runtime) => {
      runtime.closed
        .then(() => options.onClosed?.(runtime))
        .catch((error) => log.error({ error, runtime: runtime.id }, "the end of a runtime was not handled"));
      await options.populate?.(runtime);
    },
    serve: options.serve,
  };
  const backOff = createBackOff(clock);
  const pool = createPool({
    config,
    settings,
    backOff,
    metrics: options.metrics,
    onWorn: (runtime, reason) => options.onWorn?.(runtime, reason),
  });

  const pauseUntil = (at: number): Promise<void> =>
    new Promise((resolve) => {
      clock.after(Math.max(0, at - clock.monotonic()), resolve);
    });

  const runtimeFor = async (unit: Unit, signal?: AbortSignal): Promise<Runtime> => {
    // To answer and to get its files, a runtime has the time of a start each.
    const ms = 2 * config.startTimeoutMs + longestBackOffMs;
    const wait = <T>(work: Promise<T>): Promise<T> =>
      withDeadline(work, { clock, ms, what: "A runtime's start", signal });
    let deadSpares = 0;
    for (;;) {
      if (closing.signal.aborted) throw new SquadronError("draining", "This node is shutting down.");
      if (signal?.aborted) throw new SquadronError("cancelled", "Waiting for a runtime was cancelled.");
      const present = pool.present(unit.key);
      const retryAt = present === undefined ? backOff.retryAt(unit.key) : undefined;
      if (retryAt !== undefined) {
        await wait(pauseUntil(retryAt));
        continue;
      }
      const runtime = await wait(present ?? pool.provide(unit));
      if (runtime !== undefined) return runtime;
      if (++deadSpares > mostDeadSpares)
        throw new SquadronError("runtime_gone", "The runtime ended before it could be used.");
    }
  };

  return {
    runtimeFor,
    find: pool.find,
    runtimes: pool.runtimes,
    boundUnits: pool.boundUnits,
    hasRoomFor: pool.hasRoomFor,
    retire: pool.retire,
    turnBegan: pool.turnBegan,
    get condition() {
      return pool.condition;
    },
    list: pool.list,
    release: pool.release,
    close: async () => {
      closing.abort();
      await pool.close();
      await Promise.all([tidied, swept]);
      await sandbox.close();
    },
  };
};

/** The operator's one directory for all units, or undefined for an own one each. */
const commonWorkingDirectory = (configured: string): string | undefined => {
  if (configured === "auto") return undefined;
  const path = resolve(configured);
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return path;
  throw new SquadronError("config_invalid", `runtimes.workingDirectory: ${configured} is not a directory.`);
};
