/** What processes cost, read from /proc: the benchmark runs on Linux only. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

const ticksPerSecond = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

/** The fields of /proc/PID/stat from the third on: the second, a name in brackets, may contain spaces. */
const statFields = (pid: number): string[] => {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
};

/** Processor time of a process with all its threads since it started, in milliseconds. */
export const cpuMs = (pid: number): number => {
  const fields = statFields(pid);
  return ((Number(fields[11]) + Number(fields[12])) / ticksPerSecond) * 1000;
};

/** Proportional set size: its own memory and its share of what it shares with others, in MiB. */
export const memoryMiB = (pid: number): number => {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return Number(/^Pss:\s+(\d+) kB$/m.exec(rollup)?.[1]) / 1024;
};

/** Did a look at a process fail because it has ended? */
const hasEnded = (error: unknown): boolean =>
  error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ESRCH");

const parentOf = (pid: number): number | undefined => {
  try {
    return Number(statFields(pid)[1]);
  } catch (error) {
    if (hasEnded(error)) return undefined;
    throw error;
  }
};

/** The processes that `pid` has started and that still run. */
export const childrenOf = (pid: number): number[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((candidate) => parentOf(candidate) === pid);

/** The processes that `pid` has started, with all that those have started. */
export const descendantsOf = (pid: number): number[] =>
  childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)]);

/** Sum over processes; one that ends meanwhile counts nothing. */
export const sumOf = (pids: readonly number[], of: (pid: number) => number): number =>
  pids.reduce((sum, pid) => {
    try {
      return sum + of(pid);
    } catch (error) {
      if (hasEnded(error)) return sum;
      throw error;
    }
  }, 0);
