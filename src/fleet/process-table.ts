import { readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";

/** `/proc` as far as we need it. On platforms without one nothing is found and every figure is undefined. */

/** USER_HZ, which Linux fixes at 100 for every architecture that the runtime exists for. */
const ticksPerSecond = 100;

/** What a process costs. Each is absent where the system does not tell it. */
export interface ProcessFigures {
  /** Proportional memory (PSS): its own pages and its share of those that others map too; else what is resident. */
  readonly memoryBytes?: number;
  readonly cpuSeconds?: number;
  readonly openFiles?: number;
  /** How many it may have open. */
  readonly maxOpenFiles?: number;
}

/** Reads what a process costs, without holding up others: the kernel counts the pages of a big process for milliseconds. */
export const figuresOf = async (pid: number): Promise<ProcessFigures> => {
  const read = (file: string): Promise<string> => readFile(`/proc/${pid}/${file}`, "latin1").catch(() => "");
  const [rollup, status, stat, limits, files] = await Promise.all([
    read("smaps_rollup"),
    read("status"),
    read("stat"),
    read("limits"),
    readdir(`/proc/${pid}/fd`).catch(() => undefined),
  ]);
  const memory = kilobytes(rollup, "Pss") ?? kilobytes(status, "VmRSS");
  const [user, system] = [fieldOf(stat, 14), fieldOf(stat, 15)];
  const maxOpenFiles = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1]);
  return {
    ...(memory !== undefined && { memoryBytes: memory * 1024 }),
    ...(user !== undefined && system !== undefined && { cpuSeconds: (user + system) / ticksPerSecond }),
    ...(files !== undefined && { openFiles: files.length }),
    ...(maxOpenFiles > 0 && { maxOpenFiles }),
  };
};

const kilobytes = (text: string, name: string): number | undefined => {
  const found = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1];
  return found === undefined ? undefined : Number(found);
};

/** When a process started, in ticks since boot: with the pid, its identity. Undefined if there is no such process. */
export const startTicksOf = (pid: number): number | undefined => fieldOf(readProc(pid, "stat") ?? "", 22);

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

const fieldOf = (stat: string, index: number): number | undefined => {
  // The second field is the program's name in parentheses and may hold anything.
  const field = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[index - 3];
  return field === undefined || field === "" ? undefined : Number(field);
};

const readProc = (pid: number, file: string): string | undefined => {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "latin1");
  } catch {
    // The process has ended, or this platform has no /proc: no figure either way.
    return undefined;
  }
};
