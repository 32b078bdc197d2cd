import { readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";

/** `/proc` as far as we need it. On platforms without one nothing is found and every figure is undefined. */

/** USER_HZ, which Linux fixes at 100 for every architecture that the runtime exists for. */
const ticksPerSecond = 100;

/** Proportional memory of a process in bytes: its own pages and its share of those that others map too. */
export const memoryOf = (pid: number): number | undefined => {
  const kilobytes = /^Pss:\s+(\d+) kB$/m.exec(readProc(pid, "smaps_rollup") ?? "")?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
};

/** CPU time that a process has used, in seconds. */
export const cpuSecondsOf = (pid: number): number | undefined => {
  const [user, system] = [statField(pid, 14), statField(pid, 15)];
  return user === undefined || system === undefined ? undefined : (user + system) / ticksPerSecond;
};

/** When a process started, in ticks since boot: with the pid, its identity. Undefined if there is no such process. */
export const startTicksOf = (pid: number): number | undefined => statField(pid, 22);

export interface MarkedProcess {
  readonly pid: number;
  /** What stands behind the marker in its environment. */
  readonly value: string;
}

/** Processes that were started with an environment entry beginning with `marker`, `NAME=text`. */
export const processesMarked = async (marker: string): Promise<MarkedProcess[]> => {
  const names = await readdir("/proc").catch(() => []);
  const found = await Promise.all(
    names
      .filter((name) => /^\d+$/.test(name))
      .map(async (name): Promise<MarkedProcess | undefined> => {
        // Unreadable: it has ended meanwhile or is another user's, so none of ours.
        const environment = await readFile(`/proc/${name}/environ`, "latin1").catch(() => "");
        const entry = environment.split("\0").find((candidate) => candidate.startsWith(marker));
        return entry === undefined ? undefined : { pid: Number(name), value: entry.slice(marker.length) };
      }),
  );
  return found.filter((process) => process !== undefined);
};

const statField = (pid: number, index: number): number | undefined => {
  const stat = readProc(pid, "stat");
  // The second field is the program's name in parentheses and may hold anything.
  const field = stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[index - 3];
  return field === undefined ? undefined : Number(field);
};

const readProc = (pid: number, file: string): string | undefined => {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "latin1");
  } catch {
    // The process has ended, or this platform has no /proc: no figure either way.
    return undefined;
  }
};
