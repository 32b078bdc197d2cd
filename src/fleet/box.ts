import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";
import type { Readable, Writable } from "node:stream";
import type { Clock } from "../kernel/clock.ts";
import { withDeadline } from "../kernel/deadline.ts";
import { findProgram, searchPath } from "./executable.ts";
import { killLeftovers, signal } from "./leftovers.ts";
import type { Exit } from "./life.ts";
import type { Confinement, InsidePaths } from "./sandbox/confinement.ts";
import { type InitProcess, readInit } from "./sandbox/init-process.ts";

const exitDeadlineMs = 10_000;
/** bwrap ends when its box has; if it does not, it is killed, and the kernel ends the box. */
const bwrapGraceMs = 1_000;
const openDeadlineMs = 10_000;

/** A process and its pipe, which belongs to whoever reads it. */
export interface Box {
  /** The process itself, as this host sees it, not what starts or guards it. */
  readonly pid: number;
  readonly input: Writable;
  readonly output: Readable;
  readonly errorOutput: Readable;
  /** Resolves when the process has ended. What it had started is killed after that (see `empty`). */
  readonly exited: Promise<Exit>;
  /** Kills the process and everything that it started. Resolves when all is gone; rejects with `timeout` if it stays. */
  empty(): Promise<void>;
}

/** What goes before the command so that the kernel kills it when our process ends, however that ends. */
export type Launcher = readonly string[];

/**
 * `setpriv` with a parent-death signal where it works (Linux), else nothing: there a runtime ends when its
 * standard input does. setpriv replaces itself by the command, so that pid and group stay the same.
 */
export const findLauncher = (): Launcher => {
  const setpriv = findProgram("setpriv");
  if (setpriv === undefined) return [];
  const launcher = [setpriv, "--pdeathsig", "KILL", "--"];
  const tried = spawnSync(setpriv, [...launcher.slice(1), "true"], {
    env: { PATH: searchPath },
    timeout: 5_000,
  });
  return tried.status === 0 ? launcher : [];
};

/** The whole environment of a runtime, with the paths that it sees. Nothing is inherited: what is not here, it does not learn. */
export const runtimeEnvironment = (
  paths: InsidePaths,
  extra: Readonly<Record<string, string>>,
): Record<string, string> => ({
  PATH: searchPath,
  LANG: "C.UTF-8",
  ...extra,
  HOME: paths.home,
  COPILOT_HOME: paths.copilotHome,
  COPILOT_DISABLE_KEYTAR: "1",
  TMPDIR: paths.temporary,
});

export interface BoxOptions {
  readonly launcher: Launcher;
  readonly command: readonly [string, ...string[]];
  readonly environment: Readonly<Record<string, string>>;
  /** As the process sees it. */
  readonly workingDirectory: string;
  /** As the host sees it. */
  readonly temporary: string;
  /** Undefined: a plain process. */
  readonly confinement?: Confinement | undefined;
  readonly clock: Clock;
}

/** Starts a process in a group of its own. Rejects with the system's error if it cannot be started. */
export const openBox = (options: BoxOptions): Promise<Box> =>
  options.confinement === undefined ? openPlain(options) : openConfined(options, options.confinement);

const openPlain = async (options: BoxOptions): Promise<Box> => {
  const [program, ...args] = [...options.launcher, ...options.command];
  const child = spawn(program ?? options.command[0], args, {
    cwd: options.workingDirectory,
    env: options.environment,
    stdio: ["pipe", "pipe", "pipe"],
    detached: true,
  });
  const started = await follow(child);
  let running = true;
  const emptied = started.exited.then(async () => {
    running = false;
    // Members of its own group need no search; the pid is not given out again while there are any.
    signal(-started.pid, "SIGKILL");
    await killLeftovers(options.temporary);
    started.errorOutput.destroy();
  });
  emptied.catch(() => undefined);
  return {
    ...started,
    empty: () => {
      if (running) signal(-started.pid, "SIGKILL");
      return inTime(options.clock, started.pid, emptied);
    },
  };
};

/** The process that we start guards the box; the one that counts is in it. A pid namespace ends with its first process. */
const openConfined = async (options: BoxOptions, confinement: Confinement): Promise<Box> => {
  const { clock } = options;
  const launch = confinement.launch(options);
  const [program, ...args] = launch.command;
  const child = spawn(program, args, {
    cwd: "/",
    env: launch.environment,
    stdio: ["pipe", "pipe", "pipe", "pipe", "pipe"],
    detached: true,
  });
  const [, , , args3, info] = child.stdio;
  const guard = await follow(child);
  if (!args3 || !("write" in args3) || !info || !("read" in info))
    throw new Error("A process that was spawned lacks its pipes.");
  for (const stream of [args3, info]) stream.on("error", () => undefined);
  args3.end(launch.argumentsText);

  let running = true;
  let init: InitProcess | undefined;
  const emptied = guard.exited.then(async () => {
    running = false;
    await init?.gone();
    await confinement.empty();
    guard.errorOutput.destroy();
  });
  emptied.catch(() => undefined);
  const empty = (): Promise<void> => {
    if (running) {
      if (init === undefined) signal(guard.pid, "SIGKILL");
      else init.kill();
      clock.after(bwrapGraceMs, () => running && signal(guard.pid, "SIGKILL"));
    }
    return inTime(clock, guard.pid, emptied);
  };
  const made = async (): Promise<number | undefined> => {
    init = await readInit(info);
    return init?.watched();
  };
  try {
    const pid = await withDeadline(made(), { clock, ms: openDeadlineMs, what: "The making of a box" });
    return { ...guard, pid: pid ?? guard.pid, exited: guard.exited.then(insideExit), empty };
  } catch (error) {
    await empty();
    throw error;
  }
};

const inTime = (clock: Clock, pid: number, emptied: Promise<void>): Promise<void> =>
  withDeadline(emptied, { clock, ms: exitDeadlineMs, what: `The end of process ${pid}` });

/** Waits for the start. The parent-death signal is bound to the thread that spawns: this one, which must be the node's main thread. */
const follow = async (child: ChildProcess): Promise<Omit<Box, "empty">> => {
  const { stdin: input, stdout: output, stderr: errorOutput } = child;
  const exited = new Promise<Exit>((resolve) => {
    child.once("exit", (code, name) => resolve({ code, signal: name }));
  });
  // A pipe that breaks is a process that has ended or is about to: `exited` tells.
  for (const stream of [input, output, errorOutput]) stream?.on("error", () => undefined);
  await once(child, "spawn");
  const { pid } = child;
  if (pid === undefined || !input || !output || !errorOutput)
    throw new Error("A process that was spawned has no pid or no pipes.");
  return { pid, input, output, errorOutput, exited };
};

/** A guard cannot die as its process did: it tells a signal as a shell does, by 128 and its number. */
const insideExit = (exit: Exit): Exit => {
  const name = Object.entries(constants.signals).find(([, number]) => number + 128 === exit.code)?.[0];
  return name === undefined ? exit : { code: null, signal: name as NodeJS.Signals };
};
