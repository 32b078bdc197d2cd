import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmdirSync,
  unlinkSync,
  writeSync,
} from "node:fs";

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

const at = ({ fd, path }: Directory, name: string): string =>
  process.platform === "linux" ? `/proc/self/fd/${fd}/${name}` : `${path}/${name}`;

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : "";

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
export const enterOrMake = (directory: Directory, name: string, owner: Owner | undefined): Directory => {
  const there = enter(directory, name);
  if (there !== undefined) return there;
  remove(directory, name);
  mkdirSync(at(directory, name), { mode: 0o700 });
  const made = enter(directory, name);
  if (made === undefined) throw new Error(`The directory ${directory.path}/${name} went as it was made.`);
  if (owner !== undefined) fchownSync(made.fd, owner.uid, owner.gid);
  return made;
};

/** Names that are text, with whether each is a directory or a file; links and devices are neither. */
export const entriesOf = (
  directory: Directory,
): readonly { readonly name: string; readonly kind: "file" | "directory" }[] =>
  readdirSync(at(directory, "."), { withFileTypes: true })
    .filter((entry) => !entry.name.includes("\uFFFD") && (entry.isFile() || entry.isDirectory()))
    .map((entry) => ({ name: entry.name, kind: entry.isFile() ? "file" : "directory" }));

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

/** Reads a file from a position to its present end, at most `maxBytes`; with its facts as they were then. */
export const readFrom = (
  directory: Directory,
  name: string,
  from: number,
  maxBytes: number,
): { readonly bytes: Buffer; readonly facts: FileFacts } | undefined => {
  const fd = unlessAbsent(() => openSync(at(directory, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  if (fd === undefined) return undefined;
  try {
    const stats = fstatSync(fd, { bigint: true });
    if (!stats.isFile()) return undefined;
    const facts = factsOf(stats);
    const bytes = Buffer.alloc(Math.min(Math.max(0, facts.size - from), maxBytes));
    let length = 0;
    while (length < bytes.length) {
      const read = readSync(fd, bytes, length, bytes.length - length, from + length);
      if (read === 0) break;
      length += read;
    }
    return { bytes: bytes.subarray(0, length), facts };
  } finally {
    closeSync(fd);
  }
};

/** Writes a new file in place of whatever has its name. */
export const write = (
  directory: Directory,
  name: string,
  file: { readonly bytes: Uint8Array; readonly mode: number },
  owner: Owner | undefined,
): FileFacts => {
  remove(directory, name);
  const fd = openSync(at(directory, name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
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

/** Removes what has this name, with all that is in it. Links are removed, never followed. */
export const remove = (directory: Directory, name: string): void => {
  const inner = enter(directory, name);
  if (inner === undefined) {
    unlessAbsent(() => unlinkSync(at(directory, name)));
    return;
  }
  try {
    for (const child of readdirSync(at(inner, "."))) remove(inner, child);
  } finally {
    closeDirectory(inner);
  }
  unlessAbsent(() => rmdirSync(at(directory, name)));
};
