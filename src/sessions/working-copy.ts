import { createHash } from "node:crypto";
import { SquadronError } from "../kernel/errors.ts";
import type { FileChange, StoredFile } from "../store/store.ts";
import {
  closeDirectory,
  type Directory,
  enter,
  enterOrMake,
  entriesOf,
  type FileFacts,
  factsAt,
  isUnreadable,
  type Owner,
  openDirectory,
  readFrom,
  remove,
  write,
} from "./safe-directory.ts";

/** A part of a working copy: what lies at `path` below a directory that is ours. */
export interface Root {
  readonly base: string;
  /** Names from `base` on, none of which need be trusted. */
  readonly path: readonly string[];
  /** Before the paths of its files in the store. */
  readonly prefix: string;
  /** Paths below this root, with `/`, that are no state. */
  readonly ignore: (path: string) => boolean;
}

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
}

interface Known {
  readonly facts: FileFacts;
  /** Bytes that the store has: of a log only whole lines. */
  readonly stored: number;
  /** The last stored bytes: a file that only grew still has them. */
  readonly tail: Buffer;
  /** Of a file that was read whole. */
  readonly hash: string | undefined;
  /** Written so shortly before we looked that a later write may have left no trace in its times. */
  readonly doubtful: boolean;
}

const maxFiles = 10_000;
const maxDepth = 64;
/** As in the store. */
const maxPathLength = 4_096;
const tailBytes = 64;
/** Coarser than any file system's clock here. */
const tickNs = 20_000_000n;
/** Files looked at between two chances for others to run. */
const breath = 256;

const hashOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("base64");

/** Runtimes only add lines to it, or put another file in its place. Other files, such as databases, change anywhere and grow. */
const isLog = (path: string): boolean => path.endsWith(".jsonl");

const sameFacts = (one: FileFacts, other: FileFacts): boolean =>
  one.ino === other.ino &&
  one.size === other.size &&
  one.mtimeNs === other.mtimeNs &&
  one.ctimeNs === other.ctimeNs &&
  one.mode === other.mode;

const wholeLines = (bytes: Buffer): Buffer => bytes.subarray(0, bytes.lastIndexOf(0x0a) + 1);

const known = (facts: FileFacts, stored: number, lastBytes: Uint8Array, hash: string | undefined): Known => ({
  facts,
  stored,
  tail: Buffer.from(lastBytes.subarray(Math.max(0, lastBytes.length - tailBytes))),
  hash,
  doubtful: BigInt(Date.now()) * 1_000_000n - facts.ctimeNs < tickNs,
});

const gone = (): SquadronError =>
  new SquadronError("runtime_gone", "The runtime's disk is gone; what was not stored has not happened.");

const openRoot = ({ base, path }: Root): Directory | undefined => {
  const opened = openDirectory(base);
  if (opened === undefined) throw gone();
  let directory = opened;
  for (const name of path) {
    const inner = enter(directory, name);
    closeDirectory(directory);
    if (inner === undefined) return undefined;
    directory = inner;
  }
  return directory;
};

const createCopy = (
  roots: readonly Root[],
  maxBytes: number,
  start: ReadonlyMap<string, Known>,
): WorkingCopy => {
  let stored = start;

  const changes = async (): Promise<PendingChanges> => {
    const now = new Map<string, Known>();
    const files: FileChange[] = [];
    let bytesRead = 0;
    let looked = 0;

    const count = (bytes: number): void => {
      bytesRead += bytes;
      if (bytesRead > maxBytes) throw tooLarge("bytes", maxBytes);
    };

    const assertFits = ({ size }: FileFacts): void => {
      if (size > maxBytes) throw tooLarge("bytes", maxBytes);
    };

    const readWhole = (directory: Directory, name: string, path: string, before: Known | undefined): void => {
      const read = readFrom(directory, name, 0, maxBytes);
      if (read === undefined) return;
      assertFits(read.facts);
      const bytes = isLog(path) ? wholeLines(read.bytes) : read.bytes;
      count(bytes.length);
      const hash = hashOf(bytes);
      now.set(path, known(read.facts, bytes.length, bytes, hash));
      if (before?.hash === hash && before.stored === bytes.length && before.facts.mode === read.facts.mode)
        return;
      files.push({ kind: "replace", path, mode: read.facts.mode, bytes });
    };

    /** The tail of a file that has only grown; false if it has not. */
    const readTail = (directory: Directory, name: string, path: string, before: Known): boolean => {
      const from = before.stored - before.tail.length;
      const read = readFrom(directory, name, from, maxBytes);
      if (read?.facts.ino !== before.facts.ino) return false;
      assertFits(read.facts);
      if (!read.bytes.subarray(0, before.tail.length).equals(before.tail)) return false;
      const grown = read.bytes.subarray(before.tail.length);
      const bytes = wholeLines(grown);
      count(bytes.length);
      const last = Buffer.concat([before.tail, bytes]);
      now.set(path, known(read.facts, before.stored + bytes.length, last, undefined));
      if (bytes.length > 0) files.push({ kind: "append", path, at: before.stored, bytes });
      return true;
    };

    const look = (directory: Directory, name: string, path: string): void => {
      const facts = factsAt(directory, name);
      if (facts === undefined) return;
      const before = stored.get(path);
      if (before === undefined) {
        assertFits(facts);
        readWhole(directory, name, path, undefined);
        return;
      }
      if (sameFacts(before.facts, facts) && !(before.doubtful && before.hash !== undefined)) {
        now.set(path, before);
        return;
      }
      assertFits(facts);
      const grew = isLog(path) && before.facts.mode === facts.mode && facts.size > before.facts.size;
      if (!(grew && readTail(directory, name, path, before))) readWhole(directory, name, path, before);
    };

    const walk = async (directory: Directory, root: Root, below: string, depth: number): Promise<void> => {
      if (depth > maxDepth) throw tooLarge("levels", maxDepth);
      const entries = entriesOf(directory, maxFiles);
      if (entries === undefined) throw tooLarge("files", maxFiles);
      for (const { name, kind } of entries) {
        const path = `${below}${name}`;
        if (root.ignore(path)) continue;
        if (++looked > maxFiles) throw tooLarge("files", maxFiles);
        if (root.prefix.length + path.length > maxPathLength)
          throw tooLarge("characters in a path", maxPathLength);
        if (looked % breath === 0) await new Promise<void>((resolve) => setImmediate(resolve));
        if (kind === "file") look(directory, name, `${root.prefix}${path}`);
        else {
          const inner = enter(directory, name);
          if (inner === undefined) continue;
          try {
            await walk(inner, root, `${path}/`, depth + 1);
          } finally {
            closeDirectory(inner);
          }
        }
      }
    };

    const walkAll = async (): Promise<void> => {
      for (const root of roots) {
        const directory = openRoot(root);
        if (directory === undefined) continue;
        try {
          await walk(directory, root, "", 0);
        } finally {
          closeDirectory(directory);
        }
      }
    };

    await walkAll().catch((error: unknown) => {
      throw isUnreadable(error) ? unreadable(error) : error;
    });
    for (const path of stored.keys()) if (!now.has(path)) files.push({ kind: "remove", path });
    return {
      files,
      accept() {
        stored = now;
      },
    };
  };
  return { changes };
};

const unreadable = (cause: unknown): SquadronError =>
  new SquadronError(
    "unprocessable",
    "A file of the session cannot be read, so that what it did cannot be kept; give its owner the right to read it.",
    { cause },
  );

const tooLarge = (what: string, limit: number): SquadronError =>
  new SquadronError(
    "too_large",
    `There are more than ${limit} ${what} in the session's files; remove some or begin a new session.`,
    { details: { limit, what } },
  );

/** A working copy of what lies in these roots, none of which is stored. */
export const openWorkingCopy = (options: {
  readonly roots: readonly Root[];
  readonly maxBytes: number;
}): WorkingCopy => createCopy(options.roots, options.maxBytes, new Map());

const writeFile = async (
  base: Directory,
  path: readonly string[],
  file: StoredFile,
  owner: Owner | undefined,
): Promise<FileFacts> => {
  const [name = "", ...rest] = path;
  if (name === "" || name === "." || name === ".." || name.includes("\0"))
    throw new SquadronError("internal", `The stored path ${file.path} leads nowhere.`);
  if (rest.length === 0) return write(base, name, file, owner);
  const inner = await enterOrMake(base, name, owner);
  try {
    return await writeFile(inner, rest, file, owner);
  } finally {
    closeDirectory(inner);
  }
};

/**
 * Makes these roots hold exactly these files, and returns the copy that is at this state. A root with a path is emptied
 * first. Rejects with `runtime_gone` when the disk is.
 */
export const restoreFiles = async (options: {
  readonly roots: readonly Root[];
  readonly files: readonly StoredFile[];
  readonly maxBytes: number;
  readonly owner: Owner | undefined;
}): Promise<WorkingCopy> => {
  const { roots, files, maxBytes, owner } = options;
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
      let written = 0;
      for (const file of files) {
        if (!file.path.startsWith(root.prefix)) continue;
        if (++written % breath === 0) await new Promise<void>((resolve) => setImmediate(resolve));
        const facts = await writeFile(top, file.path.slice(root.prefix.length).split("/"), file, owner);
        stored.set(file.path, known(facts, file.bytes.length, file.bytes, hashOf(file.bytes)));
      }
    } finally {
      chain.reverse().forEach(closeDirectory);
    }
  }
  return createCopy(roots, maxBytes, stored);
};
