import { setTimeout as pause } from "node:timers/promises";
import { SquadronError } from "../kernel/errors.ts";
import { processesMarked, startTicksOf } from "./process-table.ts";

/**
 * A runtime puts each shell into a process group of its own, and shells outlive it. What we can follow is
 * the environment that they inherit: `TMPDIR` names one process's temporary directory, and its path the node.
 */
const marker = (temporary: string): string => `TMPDIR=${temporary}`;

const maxPasses = 20;
/** A killed process takes a moment to go; each pass waits this much longer than the one before. */
const pauseMs = 5;

/** Names this node process: pid and start, so that a reused pid is not mistaken for it. */
export const ownerTag = (): string => `${process.pid}.${startTicksOf(process.pid) ?? 0}`;

/** Kills all that a runtime has started and left. Rejects with `internal` if it makes new ones faster than we kill. */
export const killLeftovers = (temporary: string): Promise<number> =>
  killUntilNone(async () => {
    const marked = await processesMarked(marker(temporary));
    return marked.filter(({ value }) => value === "").map(({ pid }) => pid);
  });

/** Kills what has its temporary directory below `prefix`, if `which` says so of the rest of that path. Resolves with how many. */
export const killMarked = (prefix: string, which: (rest: string) => boolean): Promise<number> =>
  killUntilNone(async () => {
    const marked = await processesMarked(marker(prefix));
    return marked.filter(({ value }) => which(value)).map(({ pid }) => pid);
  });

const killUntilNone = async (find: () => Promise<number[]>): Promise<number> => {
  const killed = new Set<number>();
  for (let pass = 0; pass < maxPasses; pass++) {
    const pids = await find();
    if (pids.length === 0) return killed.size;
    for (const pid of pids) {
      killed.add(pid);
      signal(pid, "SIGKILL");
    }
    await pause(pass * pauseMs);
  }
  throw new SquadronError(
    "internal",
    `Processes that a runtime left still run after ${maxPasses} attempts to kill them.`,
  );
};

/** Sends a signal to a process, or with a negative id to a group. False if there is none. */
export const signal = (pid: number, name: NodeJS.Signals): boolean => {
  try {
    return process.kill(pid, name);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ESRCH") return false;
    throw error;
  }
};
