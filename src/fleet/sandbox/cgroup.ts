import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { readdir, readFile, rmdir } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { SquadronError } from "../../kernel/errors.ts";
import { signal } from "../leftovers.ts";

export interface Limits {
  /** Of all processes of the box together, its temporary files included. */
  readonly memoryBytes: number;
  /** Processes and threads. */
  readonly processes: number;
  readonly cpus: number;
}

/** Where cgroups can be made for boxes: below the node's own, so that what bounds the node bounds them too. */
export type CgroupHierarchy =
  | { readonly version: 2; readonly own: string }
  | { readonly version: 1; readonly own: Readonly<Record<string, string>> };

const needed = ["memory", "pids"] as const;
const cpuPeriodUs = 100_000;
const leaf = "squadron-node";
const maxPasses = 60;
const pauseMs = 5;

/** The node's own cgroup directories, from the texts of `/proc/self/cgroup` and `/proc/self/mountinfo`. */
export const parseHierarchy = (cgroup: string, mountinfo: string): CgroupHierarchy | undefined => {
  const paths = new Map<string, string>();
  for (const line of cgroup.split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (path !== undefined) for (const name of (controllers ?? "").split(",")) paths.set(name, path);
  }
  const own: Record<string, string> = {};
  let unified: string | undefined;
  for (const line of mountinfo.split("\n")) {
    const [before = "", after = ""] = line.split(" - ");
    const [, , , root, point] = before.split(" ");
    const [type, , options = ""] = after.split(" ");
    if (root === undefined || point === undefined) continue;
    if (type === "cgroup2") unified = ownDirectory(point, root, paths.get("") ?? "/");
    if (type !== "cgroup") continue;
    for (const name of options.split(",")) {
      const path = paths.get(name);
      if (path !== undefined && ["memory", "pids", "cpu"].includes(name))
        own[name] = ownDirectory(point, root, path);
    }
  }
  if (needed.every((name) => name in own)) return { version: 1, own };
  return unified === undefined ? undefined : { version: 2, own: unified };
};

/** A container sees a part of the hierarchy: its mount's root stands for the beginning of the path. */
const ownDirectory = (point: string, root: string, path: string): string => {
  if (root === "/") return resolve(point, `.${path}`);
  return `${path}/`.startsWith(`${root}/`) ? resolve(point, `.${path.slice(root.length)}`) : point;
};

const readHierarchy = (): CgroupHierarchy | undefined => {
  try {
    return parseHierarchy(
      readFileSync("/proc/self/cgroup", "utf8"),
      readFileSync("/proc/self/mountinfo", "utf8"),
    );
  } catch {
    // No /proc, or none with cgroups: a system without them.
    return undefined;
  }
};

/** One node's cgroups: a directory for it in each hierarchy, and in that one for each box. */
export interface Cgroups {
  readonly version: 1 | 2;
  /** Is the time of the processors bounded too? */
  readonly cpu: boolean;
  readonly parents: readonly string[];
  /** Makes a box's cgroup. Throws the system's error. */
  create(name: string, limits: Limits): BoxCgroup;
}

export interface BoxCgroup {
  /** Files into which a process writes its pid to come under the limits. */
  readonly entrances: readonly string[];
  /** Kills all members and removes the cgroup. Rejects with `internal` if something stays. */
  remove(): Promise<void>;
}

/**
 * Makes the node's cgroups, `name` in each hierarchy; a text says why there are none. Version 1 where it has the
 * controllers, for then version 2 does not have them.
 */
export const openCgroups = (name: string): Cgroups | string => {
  const hierarchy = readHierarchy();
  if (hierarchy === undefined) return "this system has no cgroups";
  try {
    return hierarchy.version === 1 ? openOne(hierarchy.own, name) : openTwo(hierarchy.own, name);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};

const openOne = (own: Readonly<Record<string, string>>, name: string): Cgroups => {
  const parents = new Set<string>();
  const directories = new Map<string, string>();
  try {
    for (const [controller, path] of Object.entries(own)) {
      const directory = join(path, name);
      if (!parents.has(directory)) mkdirSync(directory);
      parents.add(directory);
      directories.set(controller, directory);
    }
  } catch (error) {
    for (const directory of parents) rmdirSync(directory);
    throw error;
  }
  return {
    version: 1,
    cpu: directories.has("cpu"),
    parents: [...parents],
    create: (box, limits) =>
      makeBox([...parents], box, (directory) => {
        const of = (controller: string) => directories.get(controller) === dirname(directory);
        if (of("memory")) {
          write(directory, "memory.limit_in_bytes", limits.memoryBytes);
          // With swap, where the kernel counts it: else a box would just swap.
          if (existsSync(join(directory, "memory.memsw.limit_in_bytes")))
            write(directory, "memory.memsw.limit_in_bytes", limits.memoryBytes);
        }
        if (of("pids")) write(directory, "pids.max", limits.processes);
        if (of("cpu")) {
          write(directory, "cpu.cfs_period_us", cpuPeriodUs);
          write(directory, "cpu.cfs_quota_us", Math.round(limits.cpus * cpuPeriodUs));
        }
      }),
  };
};

const openTwo = (path: string, name: string): Cgroups => {
  const own = basename(path) === leaf ? dirname(path) : path;
  const offered = readFileSync(join(own, "cgroup.controllers"), "utf8").trim().split(" ");
  const missing = needed.filter((controller) => !offered.includes(controller));
  if (missing.length > 0) throw new Error(`the node's cgroup ${own} has no controller ${missing.join(", ")}`);
  const wanted = [...needed, "cpu"].filter((controller) => offered.includes(controller));
  const enable = (directory: string) =>
    write(directory, "cgroup.subtree_control", wanted.map((controller) => `+${controller}`).join(" "));
  const enabled = readFileSync(join(own, "cgroup.subtree_control"), "utf8").trim().split(" ");
  if (!wanted.every((controller) => enabled.includes(controller))) {
    leaveRoom(own);
    enable(own);
  }
  const parent = join(own, name);
  mkdirSync(parent);
  try {
    enable(parent);
  } catch (error) {
    rmdirSync(parent);
    throw error;
  }
  return {
    version: 2,
    cpu: wanted.includes("cpu"),
    parents: [parent],
    create: (box, limits) =>
      makeBox([parent], box, (directory) => {
        write(directory, "memory.max", limits.memoryBytes);
        if (existsSync(join(directory, "memory.swap.max"))) write(directory, "memory.swap.max", 0);
        write(directory, "pids.max", limits.processes);
        if (wanted.includes("cpu"))
          write(directory, "cpu.max", `${Math.round(limits.cpus * cpuPeriodUs)} ${cpuPeriodUs}`);
      }),
  };
};

/** A cgroup of version 2 has either processes or children with limits: the node itself moves into a child. */
const leaveRoom = (own: string): void => {
  const members = readFileSync(join(own, "cgroup.procs"), "utf8").split("\n").filter(Boolean);
  if (members.length === 0) return;
  if (members.some((pid) => Number(pid) !== process.pid))
    throw new Error(
      `the node shares its cgroup ${own} with other processes; give it one of its own that it may divide (systemd: Delegate=yes)`,
    );
  mkdirSync(join(own, leaf), { recursive: true });
  write(join(own, leaf), "cgroup.procs", process.pid);
};

const write = (directory: string, file: string, value: string | number): void =>
  writeFileSync(join(directory, file), String(value), { flag: "w" });

const makeBox = (parents: readonly string[], name: string, limit: (directory: string) => void): BoxCgroup => {
  const made: string[] = [];
  try {
    for (const parent of parents) {
      const directory = join(parent, name);
      mkdirSync(directory);
      made.push(directory);
      limit(directory);
    }
  } catch (error) {
    for (const directory of made) rmdirSync(directory);
    throw error;
  }
  return {
    entrances: made.map((directory) => join(directory, "cgroup.procs")),
    remove: async () => {
      for (const directory of made) await removeCgroup(directory);
    },
  };
};

/** Kills all members of a cgroup and of those in it, and removes them all. Rejects with `internal` if one stays. */
export const removeCgroup = async (directory: string): Promise<void> => {
  for (const child of await childrenOf(directory)) await removeCgroup(join(directory, child));
  let last: unknown;
  for (let pass = 0; pass < maxPasses; pass++) {
    // Gone: an earlier call has removed it.
    const members = await readFile(join(directory, "cgroup.procs"), "utf8").catch(() => undefined);
    if (members === undefined) return;
    for (const pid of members.split("\n").filter(Boolean)) signal(Number(pid), "SIGKILL");
    try {
      await rmdir(directory);
      return;
    } catch (error) {
      // Busy while a killed process is still going.
      last = error;
      await pause(pass * pauseMs);
    }
  }
  throw new SquadronError("internal", `The cgroup ${directory} could not be removed.`, { cause: last });
};

const childrenOf = async (directory: string): Promise<string[]> => {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
};
