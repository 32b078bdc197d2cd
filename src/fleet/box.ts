import { type ChildProcessByStdio, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import type { Clock } from "../kernel/clock.ts";
import { withDeadline } from "../kernel/deadline.ts";
import { findProgram, searchPath } from "./executable.ts";
import { killLeftovers, signal } from "./leftovers.ts";
import type { Exit } from "./life.ts";
import type { UnitDirectory } from "./unit-directory.ts";

const exitDeadlineMs = 10_000;

/** A process and its pipe, which belongs to whoever reads it. */
export interface Box {
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

/** The whole environment of a runtime. Nothing is inherited: what is not here, it does not learn. */
export const runtimeEnvironment = (
  directory: UnitDirectory,
  extra: Readonly<Record<string, string>>,
): Record<string, string> => ({
  PATH: searchPath,
  LANG: "C.UTF-8",
  ...extra,
  HOME: directory.home,
  COPILOT_HOME: directory.copilotHome,
  COPILOT_DISABLE_KEYTAR: "1",
  TMPDIR: directory.temporary,
});

/** Starts a process in a group of its own. Rejects with the system's error if it cannot be started. */
export const openBox = async (options: {
  readonly launcher: Launcher;
  readonly command: readonly [string, ...string[]];
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  readonly temporary: string;
  readonly clock: Clock;
}): Promise<Box> => {
  const [program, ...args] = [...options.launcher, ...options.command];
  // The parent-death signal is bound to the thread that spawns: this one, which must be the node's main thread.
  const child: ChildProcessByStdio<Writable, Readable, Readable> = spawn(
    program ?? options.command[0],
    args,
    {
      cwd: options.workingDirectory,
      env: options.environment,
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
    },
  );
  const exited = new Promise<Exit>((resolve) => {
    child.once("exit", (code, name) => resolve({ code, signal: name }));
  });
  // A pipe that breaks is a process that has ended or is about to: `exited` tells.
  for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on("error", () => undefined);
  await once(child, "spawn");
  const { pid } = child;
  if (pid === undefined) throw new Error("A process that was spawned has no pid.");

  let running = true;
  const emptied = exited.then(async () => {
    running = false;
    // Members of its own group need no search; the pid is not given out again while there are any.
    signal(-pid, "SIGKILL");
    await killLeftovers(options.temporary);
    child.stderr.destroy();
  });
  emptied.catch(() => undefined);

  return {
    pid,
    input: child.stdin,
    output: child.stdout,
    errorOutput: child.stderr,
    exited,
    empty: () => {
      if (running) signal(-pid, "SIGKILL");
      return withDeadline(emptied, {
        clock: options.clock,
        ms: exitDeadlineMs,
        what: `The end of process ${pid}`,
      });
    },
  };
};
