import type { Clock } from "../kernel/clock.ts";
import { withDeadline } from "../kernel/deadline.ts";
import { SquadronError } from "../kernel/errors.ts";
import { newId } from "../kernel/ids.ts";
import type { Unit } from "../kernel/isolation.ts";
import { isObject } from "../kernel/json.ts";
import type { Secret } from "../kernel/secret.ts";
import type { Log } from "../telemetry/log.ts";
import { createPeer, type Peer, type PeerHandler } from "../wire/peer.ts";
import { type Box, type Launcher, openBox, runtimeEnvironment } from "./box.ts";
import { followErrorOutput } from "./error-output.ts";
import { type Exit, type Life, type LifeEvent, newLife, nextLife, type StopReason } from "./life.ts";
import { prepareUnitDirectory, removeDirectory, type UnitDirectory } from "./unit-directory.ts";

/** A runtime that has answered and can be given sessions. */
export interface Runtime {
  readonly id: string;
  readonly unit: Unit;
  readonly pid: number;
  /** Its COPILOT_HOME: `session-state/<id>` of its sessions lies there. */
  readonly home: string;
  readonly workingDirectory: string;
  readonly version: string;
  readonly peer: Peer;
  /** Resolves when the process has ended and all that it wrote before has been handled. Never rejects. */
  readonly closed: Promise<void>;
  /** Kills the process and all that it started. Requests in flight reject at once; resolves when all is gone. */
  kill(): Promise<void>;
}

/** One process from the decision to start it until it is gone. */
export interface RuntimeLife {
  readonly id: string;
  readonly unit: Unit;
  readonly startedAt: number;
  readonly state: Life["state"];
  readonly pid: number | undefined;
  /** The runtime while it is ready. */
  readonly runtime: Runtime | undefined;
  /** Rejects with `runtime_start_failed`, or with `runtime_gone` if it was stopped meanwhile. */
  readonly ready: Promise<Runtime>;
  readonly gone: Promise<void>;
  stop(reason: StopReason): Promise<void>;
}

export interface RuntimeSettings {
  readonly launcher: Launcher;
  readonly executable: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, Secret>>;
  /** Undefined: an own directory per unit. */
  readonly workingDirectory: string | undefined;
  readonly startTimeoutMs: number;
  readonly statePath: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly serve: (runtime: Runtime) => PeerHandler;
}

const baseArguments = ["--headless", "--no-auto-update", "--no-auto-login", "--stdio"];
const protocolVersion = 3;
const taskKinds = ["agent", "client", "shell"];

/** Starts a runtime for a unit. Never throws: what goes wrong is in `ready` and in the log. */
export const startRuntime = (unit: Unit, settings: RuntimeSettings): RuntimeLife => {
  const { clock } = settings;
  const id = newId("run");
  const log = settings.log.child({ runtime: id, unit: unit.key });
  const startedAt = clock.now();
  const began = clock.monotonic();
  const gone = Promise.withResolvers<void>();

  let life: Life = newLife;
  let box: Box | undefined;
  let peer: Peer | undefined;
  let runtime: Runtime | undefined;
  const happen = (event: LifeEvent) => {
    life = nextLife(life, event);
  };

  const stop = async (reason: StopReason): Promise<void> => {
    happen({ kind: "stop", reason });
    peer?.close(new SquadronError("runtime_gone", "The runtime was stopped."));
    await box?.empty();
    await gone.promise;
  };

  /** The end, whoever brought it about: what was written is read, what was started is killed, then it is told. */
  const finish = async (exit: Exit, directory: UnitDirectory | undefined): Promise<void> => {
    const emptied = box?.empty().catch((error) => log.error({ error }, "a runtime left something behind"));
    await Promise.race([peer?.closed, emptied]);
    peer?.close(new SquadronError("runtime_gone", "The runtime has ended."));
    happen({ kind: "exited", exit });
    const reason = "reason" in life ? life.reason : "by_itself";
    if (reason === "by_itself") log.warn({ ...exit }, "a runtime ended by itself");
    else log.info({ reason, ...exit }, "a runtime has ended");
    gone.resolve();
    await emptied;
    if (directory) await removeDirectory(directory.temporary);
  };

  const open = async (directory: UnitDirectory): Promise<Box> => {
    const extra = Object.fromEntries(
      Object.entries(settings.env).map(([name, value]) => [name, value.reveal()]),
    );
    return openBox({
      launcher: settings.launcher,
      command: [settings.executable, ...baseArguments, ...settings.args],
      environment: runtimeEnvironment(directory, extra),
      workingDirectory: settings.workingDirectory ?? directory.work,
      temporary: directory.temporary,
      clock,
    });
  };

  const start = async (): Promise<Runtime> => {
    let tail: () => readonly string[] = () => [];
    try {
      const directory = await prepareUnitDirectory(settings.statePath, unit.key);
      mustBeWanted();
      const opened = await open(directory);
      box = opened;
      // From here on the process's own end is what ends this life.
      opened.exited
        .then((exit) => finish(exit, directory))
        .catch((error) => log.warn({ error }, "a runtime's temporary files could not be removed"));
      tail = followErrorOutput(opened.errorOutput, { log, clock, secrets: Object.values(settings.env) }).tail;
      let handler: PeerHandler | undefined;
      const pipe = createPeer({
        input: opened.output,
        output: opened.input,
        clock,
        handler: {
          request: async (frame) => {
            if (handler === undefined)
              throw new SquadronError("method_unknown", "Nobody serves this runtime yet.");
            return handler.request(frame);
          },
          notification: (frame) => handler?.notification(frame),
        },
        onProtocolError: (error) => log.error({ error }, "a runtime broke the protocol"),
        onHandlerFailure: (error, frame) => log.error({ error, method: frame.method }, "a callback failed"),
      });
      peer = pipe;
      pipe.closed
        .then(() => stop("by_itself"))
        .catch((error) => log.error({ error }, "a runtime could not be ended"));
      mustBeWanted();
      const left = settings.startTimeoutMs - (clock.monotonic() - began);
      const version = await withDeadline(handshake(pipe), {
        clock,
        ms: Math.max(0, left),
        what: "The first answer",
      });
      mustBeWanted();
      const started: Runtime = {
        id,
        unit,
        pid: opened.pid,
        home: directory.copilotHome,
        workingDirectory: settings.workingDirectory ?? directory.work,
        version,
        peer: pipe,
        closed: gone.promise,
        kill: () => stop("released"),
      };
      handler = settings.serve(started);
      runtime = started;
      happen({ kind: "answered", version });
      log.info({ pid: opened.pid, version, ms: Math.round(clock.monotonic() - began) }, "a runtime is ready");
      return started;
    } catch (error) {
      throw await failed(error, tail);
    }
  };

  /** Ends what there is of a start that did not succeed; the error that its callers get. */
  const failed = async (cause: unknown, tail: () => readonly string[]): Promise<SquadronError> => {
    const stopped = life.state === "stopping" && life.reason !== "by_itself";
    happen({ kind: "stop", reason: "start_failed" });
    if (box)
      await stop("start_failed").catch((error) => log.error({ error }, "a runtime could not be ended"));
    else {
      happen({ kind: "exited", exit: { code: null, signal: null } });
      gone.resolve();
    }
    if (stopped) return new SquadronError("runtime_gone", "The runtime was stopped while it started.");
    log.error(
      { error: cause, executable: settings.executable, stderr: tail() },
      "a runtime could not be started",
    );
    return new SquadronError(
      "runtime_start_failed",
      "A runtime could not be started; the node's log has the reason.",
      {
        cause,
      },
    );
  };

  const mustBeWanted = () => {
    if (life.state !== "starting") throw new SquadronError("runtime_gone", "The start was given up.");
  };

  const ready = start();
  // Nobody may be waiting any more; the failure has been logged.
  ready.catch(() => undefined);

  return {
    id,
    unit,
    startedAt,
    ready,
    gone: gone.promise,
    stop,
    get state() {
      return life.state;
    },
    get pid() {
      return box?.pid;
    },
    get runtime() {
      return life.state === "ready" ? runtime : undefined;
    },
  };
};

/** The first words on the pipe; resolves with the runtime's version. After them all its model calls come to us. */
const handshake = async (peer: Peer): Promise<string> => {
  const connected = (await peer.request("connect", { supportedTaskKinds: taskKinds })).result();
  if (!isObject(connected) || connected.protocolVersion !== protocolVersion) {
    const spoken = isObject(connected) ? connected.protocolVersion : undefined;
    throw new SquadronError(
      "upstream_error",
      `It speaks protocol ${String(spoken)}; this node needs ${protocolVersion}.`,
    );
  }
  await peer.request("llmInference.setProvider", {});
  return typeof connected.version === "string" ? connected.version : "unknown";
};
