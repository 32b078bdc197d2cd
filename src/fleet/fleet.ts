import { statSync } from "node:fs";
import { resolve } from "node:path";
import { LRUCache } from "lru-cache";
import type { RuntimesConfig } from "../config/config.ts";
import type { Clock } from "../kernel/clock.ts";
import { withDeadline } from "../kernel/deadline.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Isolation, Unit } from "../kernel/isolation.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics, RuntimeState } from "../telemetry/metrics.ts";
import type { PeerHandler } from "../wire/peer.ts";
import { findLauncher } from "./box.ts";
import { runtimeExecutable } from "./executable.ts";
import { killOrphans } from "./leftovers.ts";
import { cpuSecondsOf, memoryOf } from "./process-table.ts";
import { type Runtime, type RuntimeLife, type RuntimeSettings, startRuntime } from "./runtime.ts";
import { removeDirectory, sessionDirectory, unitRoot, unitsPath } from "./unit-directory.ts";

export type { Runtime } from "./runtime.ts";

export interface RuntimeStatus {
  readonly id: string;
  readonly isolation: Isolation;
  readonly unitKey: string;
  readonly state: RuntimeState;
  /** Absent before the process has been spawned. */
  readonly pid?: number;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** Proportional memory (PSS); absent where the system does not tell. */
  readonly memoryBytes?: number;
  readonly cpuSeconds?: number;
}

/** The node's runtimes: at most one process per unit, started when it is needed. */
export interface Fleet {
  /**
   * The unit's runtime, started if there is none. Parallel callers share one start; `signal` ends only this
   * caller's wait. Rejects with `no_capacity`, `runtime_start_failed`, `runtime_gone`, `draining` or `cancelled`.
   */
  runtimeFor(unit: Unit, signal?: AbortSignal): Promise<Runtime>;
  /** The unit's runtime if it is ready. */
  find(unitKey: string): Runtime | undefined;
  /** All processes with their figures. Reads /proc: for people and scrapes, not for every request. */
  list(): RuntimeStatus[];
  /** Kills the unit's runtime, if there is one. */
  release(unitKey: string): Promise<void>;
  /** Where the unit's runtime keeps this session's files, running or not. */
  sessionDirectory(unitKey: string, sessionId: string): string;
  /** Kills the unit's runtime and removes everything that it has on disk. */
  removeState(unitKey: string): Promise<void>;
  /** Kills all and waits until they are gone; nothing is started any more. */
  close(): Promise<void>;
}

export interface FleetOptions {
  readonly config: RuntimesConfig;
  /** A directory of this node alone; orphans of an earlier node on it are killed. */
  readonly statePath: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Who answers what a runtime asks; called once for each, when it is ready. */
  readonly serve: (runtime: Runtime) => PeerHandler;
  /** Called once for each runtime that was ready, when it is gone, for whatever reason. */
  readonly onClosed?: (runtime: Runtime) => void;
}

const backOff = { firstMs: 100, longestMs: 5_000, units: 1_000 };

interface Failures {
  readonly count: number;
  /** Monotonic. */
  readonly retryAt: number;
}

/** Throws `config_invalid` if the command or the working directory does not exist. */
export const createFleet = (options: FleetOptions): Fleet => {
  const { config, statePath, clock, log, metrics } = options;
  const settings: RuntimeSettings = {
    launcher: findLauncher(),
    executable: runtimeExecutable(config.command),
    args: config.args,
    env: config.env,
    workingDirectory: commonWorkingDirectory(config.workingDirectory),
    startTimeoutMs: config.startTimeoutMs,
    statePath,
    clock,
    log,
    serve: options.serve,
  };
  if (settings.launcher.length === 0) {
    log.warn({}, "no setpriv here: a runtime with a running shell can outlive a node that is killed");
  }
  const lives = new Map<string, RuntimeLife>();
  const removals = new Map<string, Promise<void>>();
  const failures = new LRUCache<string, Failures>({ max: backOff.units });
  let closing = false;

  const orphans = killOrphans(unitsPath(statePath)).then(
    (count) => count > 0 && log.warn({ count }, "killed what runtimes of an earlier node had left"),
    (error) => log.error({ error }, "what runtimes of an earlier node had left could not be killed"),
  );

  metrics.observeRuntimes(() => {
    const counts = { starting: 0, ready: 0, stopping: 0 };
    for (const life of lives.values()) if (life.state !== "gone") counts[life.state]++;
    return counts;
  });

  const start = (unit: Unit): RuntimeLife => {
    if (lives.size >= config.max) {
      throw new SquadronError(
        "no_capacity",
        `All ${config.max} runtimes of this node are in use; try again later.`,
        {
          details: { limit: config.max },
        },
      );
    }
    const began = clock.monotonic();
    const life = startRuntime(unit, settings);
    lives.set(unit.key, life);
    life.gone.then(() => lives.delete(unit.key));
    life.ready.then(
      (runtime) => {
        failures.delete(unit.key);
        metrics.runtimeStarted((clock.monotonic() - began) / 1000);
        runtime.closed
          .then(() => options.onClosed?.(runtime))
          .catch((error) =>
            log.error({ error, runtime: runtime.id }, "the end of a runtime was not handled"),
          );
      },
      (error) => {
        if (error instanceof SquadronError && error.code === "runtime_gone") return;
        const count = (failures.get(unit.key)?.count ?? 0) + 1;
        const pause = Math.min(backOff.firstMs * 2 ** (count - 1), backOff.longestMs);
        failures.set(unit.key, { count, retryAt: clock.monotonic() + pause });
      },
    );
    return life;
  };

  const pauseUntil = (at: number): Promise<void> =>
    new Promise((resolve) => {
      clock.after(Math.max(0, at - clock.monotonic()), resolve);
    });

  /** What a new start of the unit has to wait for; undefined if nothing. */
  const obstacle = (unitKey: string): Promise<void> | undefined => {
    const removal = removals.get(unitKey);
    if (removal) return removal;
    const life = lives.get(unitKey);
    if (life) return life.state === "stopping" || life.state === "gone" ? life.gone : undefined;
    const failed = failures.get(unitKey);
    return failed && failed.retryAt > clock.monotonic() ? pauseUntil(failed.retryAt) : undefined;
  };

  const runtimeFor = async (unit: Unit, signal?: AbortSignal): Promise<Runtime> => {
    const wait = <T>(work: Promise<T>): Promise<T> =>
      withDeadline(work, {
        clock,
        ms: config.startTimeoutMs + backOff.longestMs,
        what: "A runtime's start",
        signal,
      });
    for (;;) {
      if (closing) throw new SquadronError("draining", "This node is shutting down.");
      if (signal?.aborted) throw new SquadronError("cancelled", "Waiting for a runtime was cancelled.");
      const before = obstacle(unit.key);
      if (before === undefined) return wait((lives.get(unit.key) ?? start(unit)).ready);
      await wait(before);
    }
  };

  const release = async (unitKey: string): Promise<void> => {
    await lives.get(unitKey)?.stop("released");
  };

  const removeState = (unitKey: string): Promise<void> => {
    const present = removals.get(unitKey);
    if (present) return present;
    const removal = release(unitKey)
      .then(() => removeDirectory(unitRoot(statePath, unitKey)))
      .finally(() => removals.delete(unitKey));
    removals.set(unitKey, removal);
    return removal;
  };

  return {
    runtimeFor,
    find: (unitKey) => lives.get(unitKey)?.runtime,
    list: () => [...lives.values()].flatMap(statusOf),
    release,
    sessionDirectory: (unitKey, sessionId) => sessionDirectory(statePath, unitKey, sessionId),
    removeState,
    close: async () => {
      closing = true;
      await Promise.all([...lives.values()].map((life) => life.stop("closing")));
      await Promise.allSettled([...removals.values(), orphans]);
    },
  };
};

const statusOf = ({ id, unit, state, startedAt, pid }: RuntimeLife): RuntimeStatus[] => {
  if (state === "gone") return [];
  const memoryBytes = pid === undefined ? undefined : memoryOf(pid);
  const cpuSeconds = pid === undefined ? undefined : cpuSecondsOf(pid);
  return [
    {
      id,
      isolation: unit.isolation,
      unitKey: unit.key,
      state,
      startedAt,
      ...(pid !== undefined && { pid }),
      ...(memoryBytes !== undefined && { memoryBytes }),
      ...(cpuSeconds !== undefined && { cpuSeconds }),
    },
  ];
};

/** The operator's one directory for all units, or undefined for an own one each. */
const commonWorkingDirectory = (configured: string): string | undefined => {
  if (configured === "auto") return undefined;
  const path = resolve(configured);
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return path;
  throw new SquadronError("config_invalid", `runtimes.workingDirectory: ${configured} is not a directory.`);
};
