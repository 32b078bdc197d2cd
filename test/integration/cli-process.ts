import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import BetterSqlite from "better-sqlite3";
import { eventually, within } from "../support/wait.ts";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command line as a process of its own, as users have it. */
export interface CliProcess extends AsyncDisposable {
  readonly pid: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Resolves when the process has ended and all of its output is here. */
  readonly ended: Promise<Ended>;
  /** The first of what standard output has between these; waits for it. */
  printed(pattern: RegExp): Promise<RegExpExecArray>;
  kill(signal: NodeJS.Signals): void;
}

export interface CliOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Before the program, for Node itself. */
  readonly nodeArguments?: readonly string[];
}

const startChild = ({ cwd, env, nodeArguments = [] }: CliOptions, args: readonly string[]): ChildProcess =>
  spawn(process.execPath, [...nodeArguments, main, ...args], {
    cwd,
    // Nothing of the developer's own SQUADRON_… variables or proxies.
    env: { PATH: process.env.PATH, HOME: cwd, TMPDIR: cwd, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });

export const startCli = (args: readonly string[], options: CliOptions): CliProcess => {
  const child = startChild(options, args);
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name]?.setEncoding("utf8").on("data", (text: string) => {
      output[name] += text;
    });
  }
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal, ...output }));
  });
  let running = true;
  // A test that timed out never gets to its `await using`.
  const killWithUs = () => child.kill("SIGKILL");
  process.once("exit", killWithUs);
  void ended.finally(() => {
    running = false;
    process.off("exit", killWithUs);
  });
  return {
    pid: child.pid ?? 0,
    get stdout() {
      return output.stdout;
    },
    get stderr() {
      return output.stderr;
    },
    ended,
    printed: (pattern) =>
      eventually(
        () => {
          const found = pattern.exec(output.stdout);
          if (found === null && !running)
            throw new Error(`It ended without: ${output.stdout}${output.stderr}`);
          return found ?? undefined;
        },
        { what: `output like ${pattern}`, deadlineMs: 30_000 },
      ),
    kill: (signal) => void child.kill(signal),
    async [Symbol.asyncDispose]() {
      if (running) child.kill("SIGKILL");
      await ended;
    },
  };
};

/** Runs a command to its end. */
export const runCli = async (args: readonly string[], options: CliOptions): Promise<Ended> => {
  await using cli = startCli(args, options);
  return await within(cli.ended, { what: `the end of squadron ${args.join(" ")}`, deadlineMs: 45_000 });
};

/** Is there a process with this pid that has not ended? */
export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** Keeps everybody else from writing a store, so that a node that holds a running turn cannot finish closing. */
export const lockStore = (file: string): { close(): void } => {
  const database = new BetterSqlite(file);
  database.exec("BEGIN EXCLUSIVE");
  return database;
};
