import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  opendirSync,
  openSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { bytesAtOnce, createPace, type Pace } from "../kernel/pace.ts";
import {
  at,
  atBytes,
  closeDirectory,
  codeOf,
  type Directory,
  enter,
  type FileFacts,
  factsOf,
  isUnreadable,
  unlessAbsent,
} from "./safe-directory.ts";

/** Whose becomes what is made in a directory. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;

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

/** Permission bits of an open directory. */
export const setMode = ({ fd }: Directory, mode: number): void => fchmodSync(fd, mode & 0o777);

const openNew = (directory: Directory, name: string): number | undefined => {
  try {
    return openSync(at(directory, name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  } catch (error) {
    if (codeOf(error) === "EEXIST") return undefined;
    throw error;
  }
};

const openOld = (directory: Directory, name: string): number | undefined => {
  try {
    return unlessAbsent(() => openSync(at(directory, name), O_WRONLY | O_NOFOLLOW | O_NONBLOCK));
  } catch (error) {
    if (isUnreadable(error)) return undefined;
    throw error;
  }
};

/** Writes a new file in place of whatever has its name. */
export const write = async (
  directory: Directory,
  name: string,
  file: { readonly bytes: Uint8Array; readonly mode: number },
  owner: Owner | undefined,
  pace: Pace,
): Promise<FileFacts> => {
  let fd = openNew(directory, name);
  if (fd === undefined) {
    await remove(directory, name);
    fd = openNew(directory, name);
  }
  if (fd === undefined) throw new Error(`Somebody writes to ${directory.path}/${name} at the same time.`);
  try {
    for (let done = 0; done < file.bytes.length; ) {
      const most = Math.min(file.bytes.length - done, bytesAtOnce);
      await pace(most);
      done += writeSync(fd, file.bytes, done, most, done);
    }
    fchmodSync(fd, file.mode & 0o777);
    if (owner !== undefined) fchownSync(fd, owner.uid, owner.gid);
    return factsOf(fstatSync(fd, { bigint: true }));
  } finally {
    closeSync(fd);
  }
};

/** Cuts a file that is still the one of these facts; undefined, and nothing is done, if it is another or may not be cut. */
export const cut = (
  directory: Directory,
  name: string,
  { ino, mode }: FileFacts,
  size: number,
): FileFacts | undefined => {
  const fd = openOld(directory, name);
  if (fd === undefined) return undefined;
  try {
    const facts = factsOf(fstatSync(fd, { bigint: true }));
    if (facts.ino !== ino || facts.mode !== mode || facts.size < size) return undefined;
    ftruncateSync(fd, size);
    return factsOf(fstatSync(fd, { bigint: true }));
  } finally {
    closeSync(fd);
  }
};

/**
 * Makes a link that says this, in place of whatever has its name; nobody follows it here. It stays ours whoever owns the
 * directory: to give it away it would have to be named again, and something else may have its name by then.
 */
export const link = async (directory: Directory, name: string, target: string): Promise<void> => {
  await remove(directory, name);
  symlinkSync(target, at(directory, name));
};

/** Names that are looked at in one go. */
const breath = 32;
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
  const pace = createPace();
  for (let round = 0; round < maxRounds; round++) {
    const entries = someOf(top);
    if (entries.length === 0) return;
    for (const { name, isDirectory } of entries) {
      if (isDirectory) unlessAbsent(() => takeUp(top, name));
      else unlessAbsent(() => unlinkSync(atBytes(top, name)));
      await pace();
    }
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
