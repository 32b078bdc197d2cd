import {
  closeSync,
  constants,
  type Dirent,
  fstatSync,
  lstatSync,
  opendirSync,
  openSync,
  readlinkSync,
  readSync,
} from "node:fs";
import { bytesAtOnce, type Pace } from "../kernel/pace.ts";

/**
 * Directories that somebody else may change while we look, and whom we do not trust: a box's user may put a link where
 * a directory was. Every step is taken from an open directory, and none through a link (what openat does; Linux only,
 * elsewhere by path). Synchronous: each call is a few microseconds on a disk that is a cache.
 */
export interface Directory {
  readonly fd: number;
  readonly path: string;
}

/** Size, times and identity of a file, exact. */
export type FileFacts = ReturnType<typeof factsOf>;

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;

const inside = ({ fd, path }: Directory): string =>
  process.platform === "linux" ? `/proc/self/fd/${fd}/` : `${path}/`;

/** How to name what is in a directory, whatever is done to the way to it. */
export const at = (directory: Directory, name: string): string => `${inside(directory)}${name}`;

/** For names that need not be text. */
export const atBytes = (directory: Directory, name: Buffer): Buffer =>
  Buffer.concat([Buffer.from(inside(directory)), name]);

export const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : "";

/** Its user has taken the right to read it from us too, which a host's root never sees. */
export const isUnreadable = (error: unknown): boolean => codeOf(error) === "EACCES";

/** It is not there, or is a link or something else than was expected. */
const isAbsent = (error: unknown): boolean => ["ENOENT", "ENOTDIR", "ELOOP", "ENXIO"].includes(codeOf(error));

export const unlessAbsent = <T>(work: () => T): T | undefined => {
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

export interface Entry {
  readonly name: string;
  readonly kind: "file" | "directory" | "link";
}

/** Bytes that are no text have become this. */
const isText = (name: string): boolean => !name.includes("\uFFFD");

const kindOf = (entry: Dirent): Entry["kind"] | undefined => {
  if (entry.isFile()) return "file";
  if (entry.isDirectory()) return "directory";
  return entry.isSymbolicLink() ? "link" : undefined;
};

/** Names that are text, of files, directories and links; devices and the like are none. Undefined when there are more than `most`. */
export const entriesOf = async (
  directory: Directory,
  most: number,
  pace: Pace,
): Promise<readonly Entry[] | undefined> => {
  const entries: Entry[] = [];
  const open = opendirSync(at(directory, "."));
  try {
    for (let seen = 0, entry = open.readSync(); entry !== null; entry = open.readSync()) {
      if (++seen > most) return undefined;
      await pace();
      const kind = kindOf(entry);
      if (kind !== undefined && isText(entry.name)) entries.push({ name: entry.name, kind });
    }
  } finally {
    open.closeSync();
  }
  return entries;
};

export const factsOf = (stats: {
  ino: bigint;
  size: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
  mode: bigint;
}) => ({
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

/** Permission bits of an open directory. */
export const modeOf = ({ fd }: Directory): number => fstatSync(fd).mode & 0o777;

/** Where a link leads, as it says; undefined where there is none, or one whose text is no text. */
export const linkAt = (directory: Directory, name: string): string | undefined => {
  try {
    const target = readlinkSync(at(directory, name));
    return isText(target) ? target : undefined;
  } catch (error) {
    // It is something else by now.
    if (isAbsent(error) || codeOf(error) === "EINVAL") return undefined;
    throw error;
  }
};

/** Reads a file from a position to its present end, at most `maxBytes`; with its facts as they were then. */
export const readFrom = async (
  directory: Directory,
  name: string,
  from: number,
  maxBytes: number,
  pace: Pace,
): Promise<{ readonly bytes: Buffer; readonly facts: FileFacts } | undefined> => {
  const fd = unlessAbsent(() => openSync(at(directory, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  if (fd === undefined) return undefined;
  try {
    const stats = fstatSync(fd, { bigint: true });
    if (!stats.isFile()) return undefined;
    const facts = factsOf(stats);
    // Not filled, which for a large file takes as long as reading it: what was not read is cut off.
    const bytes = Buffer.allocUnsafe(Math.min(Math.max(0, facts.size - from), maxBytes));
    let length = 0;
    while (length < bytes.length) {
      const most = Math.min(bytes.length - length, bytesAtOnce);
      await pace(most);
      const read = readSync(fd, bytes, length, most, from + length);
      if (read === 0) break;
      length += read;
    }
    return { bytes: bytes.subarray(0, length), facts };
  } finally {
    closeSync(fd);
  }
};
