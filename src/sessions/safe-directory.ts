import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  opendirSync,
  openSync,
  readSync,
  renameSync,
  rmdirSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { setImmediate as breathe } from "node:timers/promises";

/**
 * Directories that somebody else may change while we look, and whom we do not trust: a box's user may put a link where
 * a directory was. Every step is taken from an open directory, and none through a link (what openat does; Linux only,
 * elsewhere by path). Synchronous: each call is a few microseconds on a disk that is a cache.
 */
export interface Directory {
  readonly fd: number;
  readonly path: string;
}

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Size, times and identity of a file, exact. */
export type FileFacts = ReturnType<typeof factsOf>;

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;

const inside = ({ fd, path }: Directory): string =>
  process.platform === "linux" ? `/proc/self/fd/${fd}/` : `${path}/`;

const at = (directory: Directory, name: string): string => `${inside(directory)}${name}`;

/** For names that need not be text. */
const atBytes = (directory: Directory, name: Buffer): Buffer =>
  Buffer.concat([Buffer.from(inside(directory)), name]);

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : "";

/** Its user has taken the right to read it from us too, which a host's root never sees. */
export const isUnreadable = (error: unknown): boolean => codeOf(error) === "EACCES";

/** It is not there, or is a link or something else than was expected. */
const isAbsent = (error: unknown): boolean => ["ENOENT", "ENOTDIR", "ELOOP", "ENXIO"].includes(codeOf(error));

const unlessAbsent = <T>(work: () => T): T | undefined => {
  try {
    return work();
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
};

/** A directory that we have made ourselves in a place that is ours. */
export const openDirectory = (path: string): Directory | undefined => {
  const fd = unlessAbsent(() => openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  return fd === undefined ? undefined : { fd, path };
};

export const closeDirectory = ({ fd }: Directory): void => closeSync(fd);

/** Undefined where there is none. */
export const enter = (directory: Directory, name: string): Directory | undefined => {
  const fd = unlessAbsent(() => openSync(at(directory, name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  return fd === undefined ? undefined : { fd, path: `${directory.path}/${name}` };
};

/** Makes it if it is not there; what else has its name goes. */
export const enterOrMake = async (
  directory: Directory,
  name: string,
  owner: Owner | undefined,
): Promise<Directory> => {
  const there = enter(directory, name);
  if (there !== undefined) return there;
  await remove(directory, name);
  mkdirSync(at(directory, name), { mode: 0o700 });
  const made = enter(directory, name);
  if (made === undefined) throw new Error(`The directory ${directory.path}/${name} went as it was made.`);
  if (owner !== undefined) fchownSync(made.fd, owner.uid, owner.gid);
  return made;
};

export interface Entry {
  readonly name: string;
  readonly kind: "file" | "directory";
}

/** Names that are text, with whether each is a directory or a file; links and devices are neither. Undefined when there are more than `most`. */
export const entriesOf = (directory: Directory, most: number): readonly Entry[] | undefined => {
  const entries: Entry[] = [];
  const open = opendirSync(at(directory, "."));
  try {
    for (let seen = 0, entry = open.readSync(); entry !== null; entry = open.readSync()) {
      if (++seen > most) return undefined;
      if (entry.name.includes("\uFFFD") || !(entry.isFile() || entry.isDirectory())) continue;
      entries.push({ name: entry.name, kind: entry.isFile() ? "file" : "directory" });
    }
  } finally {
    open.closeSync();
  }
  return entries;
};

const factsOf = (stats: { ino: bigint; size: bigint; mtimeNs: bigint; ctimeNs: bigint; mode: bigint }) => ({
  ino: stats.ino,
  size: Number(stats.size),
  mtimeNs: stats.mtimeNs,
  ctimeNs: stats.ctimeNs,
  mode: Number(stats.mode) & 0o777,
});

export const factsAt = (directory: Directory, name: string): FileFacts | undefined => {
  const stats = unlessAbsent(() => lstatSync(at(directory, name), { bigint: true }));
  return stats?.isFile() ? factsOf(stats) : undefined;
};

/** Bytes read between two chances for others to run: a few milliseconds. */
const readAtOnce = 8 * 2 ** 20;

/** Reads a file from a position to its present end, at most `maxBytes`; with its facts as they were then. */
export const readFrom = async (
  directory: Directory,
  name: string,
  from: number,
  maxBytes: number,
): Promise<{ readonly bytes: Buffer; readonly facts: FileFacts } | undefined> => {
  const fd = unlessAbsent(() => openSync(at(directory, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  if (fd === undefined) return undefined;
  try {
    const stats = fstatSync(fd, { bigint: true });
    if (!stats.isFile()) return undefined;
    const facts = factsOf(stats);
    const bytes = Buffer.alloc(Math.min(Math.max(0, facts.size - from), maxBytes));
    let length = 0;
    while (length < bytes.length) {
      if (length > 0) await breathe();
      const most = Math.min(bytes.length - length, readAtOnce);
      const read = readSync(fd, bytes, length, most, from + length);
      if (read === 0) break;
      length += read;
    }
    return { bytes: bytes.subarray(0, length), facts };
  } finally {
    closeSync(fd);
  }
};

const openNew = (directory: Directory, name: string): number | undefined => {
  try {
    return openSync(at(directory, name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  } catch (error) {
    if (codeOf(error) === "EEXIST") return undefined;
    throw error;
  }
};

/** Writes a new file in place of whatever has its name. */
export const write = async (
  directory: Directory,
  name: string,
  file: { readonly bytes: Uint8Array; readonly mode: number },
  owner: Owner | undefined,
): Promise<FileFacts> => {
  let fd = openNew(directory, name);
  if (fd === undefined) {
    await remove(directory, name);
    fd = openNew(directory, name);
  }
  if (fd === undefined) throw new Error(`Somebody writes to ${directory.path}/${name} at the same time.`);
  try {
    for (let done = 0; done < file.bytes.length; )
      done += writeSync(fd, file.bytes, done, file.bytes.length - done, done);
    fchmodSync(fd, file.mode & 0o777);
    if (owner !== undefined) fchownSync(fd, owner.uid, owner.gid);
    return factsOf(fstatSync(fd, { bigint: true }));
  } finally {
    closeSync(fd);
  }
};

/** Removals between two chances for others to run. */
const breath = 256;
/** Levels of directories, and rounds against somebody who fills what is being emptied. */
const maxRounds = 100_000;

/** Removes what has this name, with all that is in it, of any depth. Links are removed, never followed. */
export const remove = async (directory: Directory, name: string): Promise<void> => {
  const top = enter(directory, name);
  if (top === undefined) {
    unlessAbsent(() => unlinkSync(at(directory, name)));
    return;
  }
  try {
    await empty(top);
  } finally {
    closeDirectory(top);
  }
  unlessAbsent(() => rmdirSync(at(directory, name)));
};

/** What lies deeper is taken up into `top` first, so that two open directories are enough for any depth. */
const empty = async (top: Directory): Promise<void> => {
  for (let round = 0; round < maxRounds; round++) {
    const entries = someOf(top);
    if (entries.length === 0) return;
    for (const { name, isDirectory } of entries) {
      if (isDirectory) unlessAbsent(() => takeUp(top, name));
      else unlessAbsent(() => unlinkSync(atBytes(top, name)));
    }
    await breathe();
  }
  throw new Error(`Somebody fills ${top.path} while it is emptied.`);
};

/** Up to a breath of what is in a directory, whose names need not be text. It is made ours to change. */
const someOf = (directory: Directory): readonly { name: Buffer; isDirectory: boolean }[] => {
  fchmodSync(directory.fd, 0o700);
  const some: { name: Buffer; isDirectory: boolean }[] = [];
  const open = opendirSync(at(directory, "."), { encoding: "buffer" as BufferEncoding });
  try {
    for (let entry = open.readSync(); entry !== null && some.length < breath; entry = open.readSync())
      some.push({ name: Buffer.from(entry.name), isDirectory: entry.isDirectory() });
  } finally {
    open.closeSync();
  }
  return some;
};

const takeUp = (top: Directory, name: Buffer): void => {
  const fd = openSync(atBytes(top, name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  const inner: Directory = { fd, path: `${top.path}/…` };
  try {
    for (const child of someOf(inner)) {
      if (child.isDirectory)
        renameSync(atBytes(inner, child.name), at(top, `taken-${randomBytes(12).toString("hex")}`));
      else unlessAbsent(() => unlinkSync(atBytes(inner, child.name)));
    }
  } finally {
    closeSync(fd);
  }
  try {
    rmdirSync(atBytes(top, name));
  } catch (error) {
    // The next round takes the rest.
    if (codeOf(error) !== "ENOTEMPTY") throw error;
  }
};
