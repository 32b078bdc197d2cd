import { SquadronError } from "../kernel/errors.ts";
import { createPace, type Pace } from "../kernel/pace.ts";
import type { FileChange, StoredEntry } from "../store/store.ts";
import type { FileBounds } from "./file-bounds.ts";
import { hashOf, type Known, type KnownFile, known } from "./known-file.ts";
import { cut, enterOrMake, link, type Owner, remove, setMode, write } from "./safe-changes.ts";
import { closeDirectory, type Directory, enter, openDirectory } from "./safe-directory.ts";
import { gone, openRoot, type Root, scan } from "./scan.ts";

/** What has changed; it counts as stored only when `accept` is called. */
export interface PendingChanges {
  readonly files: readonly FileChange[];
  accept(): void;
}

/** Files on a box's private disk, with what of them the store has. */
export interface WorkingCopy {
  /**
   * Rejects with `too_large`, with `unprocessable` when something cannot be read, or with `runtime_gone` when the disk is
   * gone. One call at a time.
   */
  changes(): Promise<PendingChanges>;
  /**
   * Makes the files those that are stored, if only logs have grown since; false if they must be restored. Nothing may
   * write there meanwhile. One call at a time.
   */
  takeBack(): Promise<boolean>;
}

const createCopy = (
  roots: readonly Root[],
  bounds: FileBounds,
  start: ReadonlyMap<string, Known>,
): WorkingCopy => {
  let stored = start;
  return {
    async changes() {
      const { now, files } = await scan(roots, bounds, stored);
      return {
        files,
        accept() {
          stored = now;
        },
      };
    },
    async takeBack() {
      const seen = await scan(roots, bounds, stored).catch((error: unknown) => {
        if (error instanceof SquadronError) return undefined;
        throw error;
      });
      if (seen === undefined || !seen.files.every(({ kind }) => kind === "append")) return false;
      const { now } = seen;
      const restored = new Map(now);
      for (const [path, before] of stored) {
        const after = now.get(path);
        if (before.kind !== "file" || after?.kind !== "file" || after.facts.size === before.stored) continue;
        const cut = cutAt(roots, path, after, before.stored);
        if (cut === undefined) return false;
        restored.set(path, { ...before, ...cut });
      }
      stored = restored;
      return true;
    },
  };
};

/** Cuts a file, of which the store has so much, at that; undefined if it cannot be. */
const cutAt = (
  roots: readonly Root[],
  path: string,
  { facts }: KnownFile,
  size: number,
): Pick<KnownFile, "facts" | "doubtful"> | undefined => {
  const root = roots.find(({ prefix }) => path.startsWith(prefix));
  const names = path.slice(root?.prefix.length).split("/");
  const directory = root && openRoot({ ...root, path: [...root.path, ...names.slice(0, -1)] });
  if (directory === undefined) return undefined;
  try {
    const shorter = cut(directory, names.at(-1) ?? "", facts, size);
    // It was written just now.
    return shorter && { facts: shorter, doubtful: true };
  } finally {
    closeDirectory(directory);
  }
};

/** A working copy of what lies in these roots, none of which is stored. */
export const openWorkingCopy = (options: {
  readonly roots: readonly Root[];
  readonly bounds: FileBounds;
}): WorkingCopy => createCopy(options.roots, options.bounds, new Map());

/** What then lies in the directory by this name. */
const put = async (
  directory: Directory,
  name: string,
  entry: StoredEntry,
  owner: Owner | undefined,
  pace: Pace,
): Promise<Known> => {
  switch (entry.kind) {
    case "file": {
      const lookedAt = Date.now();
      const facts = await write(directory, name, entry, owner, pace);
      const hash = await hashOf(entry.bytes, pace);
      return known(facts, { stored: entry.bytes.length, lastBytes: entry.bytes, hash, lookedAt });
    }
    case "directory": {
      const made = await enterOrMake(directory, name, owner);
      try {
        setMode(made, entry.mode);
      } finally {
        closeDirectory(made);
      }
      return { kind: "directory", mode: entry.mode };
    }
    case "link":
      await link(directory, name, entry.target);
      return { kind: "link", target: entry.target };
  }
};

const putAt = async (
  base: Directory,
  path: readonly string[],
  entry: StoredEntry,
  owner: Owner | undefined,
  pace: Pace,
): Promise<Known> => {
  const [name = "", ...rest] = path;
  if (name === "" || name === "." || name === ".." || name.includes("\0"))
    throw new SquadronError("internal", `The stored path ${entry.path} leads nowhere.`);
  if (rest.length === 0) return put(base, name, entry, owner, pace);
  const inner = await enterOrMake(base, name, owner);
  try {
    return await putAt(inner, rest, entry, owner, pace);
  } finally {
    closeDirectory(inner);
  }
};

/** Removes what lies in roots that have a path; where the disk is gone already, nothing is left to do. */
export const removeRoots = async (roots: readonly Root[]): Promise<void> => {
  for (const { base, path } of roots) {
    const chain = [openDirectory(base)];
    try {
      for (const name of path.slice(0, -1)) {
        const outer = chain.at(-1);
        chain.push(outer && enter(outer, name));
      }
      const [outer, name] = [chain.at(-1), path.at(-1)];
      if (outer !== undefined && name !== undefined) await remove(outer, name);
    } finally {
      for (const directory of chain) if (directory !== undefined) closeDirectory(directory);
    }
  }
};

/**
 * Makes these roots hold exactly these entries, a directory before what is in it, and returns the copy that is at this state. A root with a path is emptied
 * first. Rejects with `runtime_gone` when the disk is.
 */
export const restoreFiles = async (options: {
  readonly bounds: FileBounds;
  readonly roots: readonly Root[];
  readonly files: readonly StoredEntry[];
  readonly owner: Owner | undefined;
}): Promise<WorkingCopy> => {
  const { roots, files, bounds, owner } = options;
  const pace = createPace();
  const stored = new Map<string, Known>();
  for (const root of roots) {
    const base = openDirectory(root.base);
    if (base === undefined) throw gone();
    const chain = [base];
    try {
      for (const [depth, name] of root.path.entries()) {
        const outer = chain.at(-1) ?? base;
        if (depth === root.path.length - 1) await remove(outer, name);
        const mine = files.some(({ path }) => path.startsWith(root.prefix));
        if (depth === root.path.length - 1 && !mine) break;
        chain.push(await enterOrMake(outer, name, owner));
      }
      const top = chain.at(-1) ?? base;
      for (const file of files) {
        if (!file.path.startsWith(root.prefix)) continue;
        await pace();
        const path = file.path.slice(root.prefix.length).split("/");
        stored.set(file.path, await putAt(top, path, file, owner, pace));
      }
    } finally {
      chain.reverse().forEach(closeDirectory);
    }
  }
  return createCopy(roots, bounds, stored);
};
