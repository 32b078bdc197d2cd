import { setImmediate as breathe } from "node:timers/promises";
import { SquadronError } from "../kernel/errors.ts";
import { createPace } from "../kernel/pace.ts";
import type { FileChange } from "../store/store.ts";
import type { FileBounds } from "./file-bounds.ts";
import { hashOf, type Known, type KnownFile, known, sameFacts } from "./known-file.ts";
import {
  closeDirectory,
  type Directory,
  enter,
  entriesOf,
  type FileFacts,
  factsAt,
  isUnreadable,
  linkAt,
  modeOf,
  openDirectory,
  readFrom,
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
  /**
   * Files to which a runtime only adds lines, if it does not put another file in their place: of them new whole lines
   * are read alone. Any other file may change anywhere, whatever it is called.
   */
  readonly isLog: (path: string) => boolean;
}

export interface Scan {
  /** What lies there, by path. */
  readonly now: ReadonlyMap<string, Known>;
  /** What makes of the stored entries those that lie there. */
  readonly files: readonly FileChange[];
}

interface Level {
  readonly root: Root;
  readonly directory: Directory;
  /** Before the names in it, from the root on. */
  readonly below: string;
  readonly depth: number;
}

const maxDepth = 64;
/** As in the store. */
const maxPathLength = 4_096;
/** Looks at a database that something writes to. */
const maxRounds = 5;

const wholeLines = (bytes: Buffer): Buffer => bytes.subarray(0, bytes.lastIndexOf(0x0a) + 1);

const pathOf = ({ root, below }: Level, name: string): string => `${root.prefix}${below}${name}`;

const databaseHeader = Buffer.from("SQLite format 3\0");
const journal = /-(?:wal|journal)$/;

/** The SQLite database that these bytes are, or belong to by their name. */
const databaseOf = (name: string, bytes: Buffer): string | undefined => {
  if (journal.test(name)) return name.replace(journal, "");
  return bytes.subarray(0, databaseHeader.length).equals(databaseHeader) ? name : undefined;
};

/** The disk that a runtime had is there no more. */
export const gone = (): SquadronError =>
  new SquadronError("runtime_gone", "The runtime's disk is gone; what was not stored has not happened.");

const unreadable = (cause: unknown): SquadronError =>
  new SquadronError(
    "unprocessable",
    "A file of the session cannot be read, so that what it did cannot be kept; give its owner the right to read it.",
    { cause },
  );

const tooLarge = (what: string, limit: number, raise?: string): SquadronError =>
  new SquadronError(
    "too_large",
    raise === undefined
      ? `There are more than ${limit} ${what} in the session's files; remove or move some.`
      : `There are more than ${limit} ${what} in the session's files, or those of its unit, which is what ${raise} allows; remove some, or have it raised.`,
    { details: { limit, what, ...(raise !== undefined && { setting: raise }) } },
  );

const fileIn = (entries: ReadonlyMap<string, Known>, path: string): KnownFile | undefined => {
  const found = entries.get(path);
  return found?.kind === "file" ? found : undefined;
};

/** Undefined where there is none; throws `runtime_gone` when not even its base is there. */
export const openRoot = ({ base, path }: Root): Directory | undefined => {
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

/**
 * Looks once at all that lies in these roots, and reads what is not as it was stored. Rejects with `too_large`, with
 * `unprocessable` when something cannot be read, or with `runtime_gone` when the disk is gone.
 */
export const scan = async (
  roots: readonly Root[],
  { maxBytes, maxFiles }: FileBounds,
  stored: ReadonlyMap<string, Known>,
): Promise<Scan> => {
  const pace = createPace();
  const now = new Map<string, Known>();
  const changes = new Map<string, FileChange>();
  const readOf = new Map<string, number>();
  let bytesRead = 0;
  let looked = 0;

  const count = (path: string, bytes: number): void => {
    bytesRead += bytes - (readOf.get(path) ?? 0);
    readOf.set(path, bytes);
    if (bytesRead > maxBytes) throw tooLarge("bytes", maxBytes, "limits.maxSize");
  };

  const assertFits = ({ size }: FileFacts): void => {
    if (size > maxBytes) throw tooLarge("bytes", maxBytes, "limits.maxSize");
  };

  const leaveAsStored = (path: string): void => {
    const before = stored.get(path);
    if (before === undefined) now.delete(path);
    else now.set(path, before);
    changes.delete(path);
  };

  const leaveOut = (path: string): void => {
    now.delete(path);
    changes.delete(path);
  };

  /** What was read; undefined when it is no file any more. */
  const readWhole = async (level: Level, name: string): Promise<Buffer | undefined> => {
    const path = pathOf(level, name);
    const lookedAt = Date.now();
    const read = await readFrom(level.directory, name, 0, maxBytes, pace);
    if (read === undefined) {
      leaveOut(path);
      return undefined;
    }
    const { facts } = read;
    assertFits(facts);
    const bytes = level.root.isLog(`${level.below}${name}`) ? wholeLines(read.bytes) : read.bytes;
    count(path, bytes.length);
    const hash = await hashOf(bytes, pace);
    now.set(path, known(facts, { stored: bytes.length, lastBytes: bytes, hash, lookedAt }));
    const before = fileIn(stored, path);
    if (before?.hash === hash && before.stored === bytes.length && before.facts.mode === facts.mode)
      changes.delete(path);
    else changes.set(path, { kind: "file", path, mode: facts.mode, bytes });
    return bytes;
  };

  /** The tail of a log that has only grown; false if it has not. */
  const readTail = async (level: Level, name: string, before: KnownFile): Promise<boolean> => {
    const path = pathOf(level, name);
    const lookedAt = Date.now();
    const from = before.stored - before.tail.length;
    const read = await readFrom(level.directory, name, from, maxBytes, pace);
    if (read?.facts.ino !== before.facts.ino) return false;
    assertFits(read.facts);
    if (!read.bytes.subarray(0, before.tail.length).equals(before.tail)) return false;
    const bytes = wholeLines(read.bytes.subarray(before.tail.length));
    count(path, bytes.length);
    const lastBytes = Buffer.concat([before.tail, bytes]);
    now.set(
      path,
      known(read.facts, { stored: before.stored + bytes.length, lastBytes, hash: undefined, lookedAt }),
    );
    if (bytes.length > 0) changes.set(path, { kind: "append", path, at: before.stored, bytes });
    return true;
  };

  /** What was read whole. */
  const look = async (level: Level, name: string): Promise<Buffer | undefined> => {
    const path = pathOf(level, name);
    const facts = factsAt(level.directory, name);
    if (facts === undefined) return undefined;
    const before = fileIn(stored, path);
    if (before !== undefined && sameFacts(before.facts, facts)) {
      if (!before.doubtful || before.hash === undefined) {
        now.set(path, before);
        return undefined;
      }
    }
    assertFits(facts);
    const grew =
      before !== undefined &&
      before.facts.mode === facts.mode &&
      facts.size > before.facts.size &&
      level.root.isLog(`${level.below}${name}`);
    return grew && (await readTail(level, name, before)) ? undefined : readWhole(level, name);
  };

  const lookAtLink = (level: Level, name: string): void => {
    const target = linkAt(level.directory, name);
    if (target === undefined) return;
    const path = pathOf(level, name);
    const before = stored.get(path);
    now.set(path, { kind: "link", target });
    if (before?.kind === "link" && before.target === target) return;
    count(path, Buffer.byteLength(target));
    changes.set(path, { kind: "link", path, target });
  };

  /** Its owner can always use it again, whatever was forbidden there. */
  const lookAtDirectory = (path: string, inner: Directory): void => {
    const mode = modeOf(inner) | 0o700;
    const before = stored.get(path);
    now.set(path, { kind: "directory", mode });
    if (before?.kind !== "directory" || before.mode !== mode)
      changes.set(path, { kind: "directory", path, mode });
  };

  /** Is it as this scan found it? What is not is read again. */
  const isStill = async (level: Level, name: string): Promise<boolean> => {
    const path = pathOf(level, name);
    const before = fileIn(now, path);
    const facts = factsAt(level.directory, name);
    if (facts === undefined) {
      leaveOut(path);
      return before === undefined;
    }
    if (before !== undefined && sameFacts(before.facts, facts) && !before.doubtful) return true;
    assertFits(facts);
    await readWhole(level, name);
    return fileIn(now, path)?.hash === before?.hash;
  };

  /**
   * A database and its journals mean something only as they were at one moment. When something writes to it without
   * a pause, it stays as it was stored.
   */
  const settle = async (level: Level, database: string): Promise<void> => {
    const parts = [database, `${database}-journal`, `${database}-wal`].filter(
      (name) => !level.root.ignore(`${level.below}${name}`),
    );
    for (let round = 0; round < maxRounds; round++) {
      let still = true;
      for (const name of parts) still = (await isStill(level, name)) && still;
      if (still) return;
      await breathe();
    }
    for (const name of parts) leaveAsStored(pathOf(level, name));
  };

  const walk = async (level: Level): Promise<void> => {
    const { root, directory, below, depth } = level;
    if (depth > maxDepth) throw tooLarge("levels", maxDepth);
    const entries = await entriesOf(directory, maxFiles, pace);
    if (entries === undefined) throw tooLarge("files", maxFiles, "limits.maxFiles");
    const databases = new Set<string>();
    const directories: string[] = [];
    for (const { name, kind } of entries) {
      const path = `${below}${name}`;
      if (root.ignore(path)) continue;
      if (++looked > maxFiles) throw tooLarge("files", maxFiles, "limits.maxFiles");
      if (root.prefix.length + path.length > maxPathLength)
        throw tooLarge("characters in a path", maxPathLength);
      await pace();
      if (kind === "directory") directories.push(name);
      else if (kind === "link") lookAtLink(level, name);
      else {
        const read = await look(level, name);
        const database = read && databaseOf(name, read);
        if (database !== undefined) databases.add(database);
      }
    }
    for (const database of databases) await settle(level, database);
    for (const name of directories) {
      const inner = enter(directory, name);
      if (inner === undefined) continue;
      try {
        lookAtDirectory(pathOf(level, name), inner);
        await walk({ root, directory: inner, below: `${below}${name}/`, depth: depth + 1 });
      } finally {
        closeDirectory(inner);
      }
    }
  };

  const walkAll = async (): Promise<void> => {
    for (const root of roots) {
      const directory = openRoot(root);
      if (directory === undefined) continue;
      try {
        await walk({ root, directory, below: "", depth: 0 });
      } finally {
        closeDirectory(directory);
      }
    }
  };

  await walkAll().catch((error: unknown) => {
    throw isUnreadable(error) ? unreadable(error) : error;
  });
  const removed = [...stored.keys()].filter((path) => !now.has(path));
  return {
    now,
    files: [...changes.values(), ...removed.map((path): FileChange => ({ kind: "remove", path }))],
  };
};
