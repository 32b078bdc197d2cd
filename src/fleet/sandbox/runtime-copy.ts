import { createHash, randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { access, chmod, copyFile, link, mkdir, readdir, realpath, rename, stat } from "node:fs/promises";
import { basename, dirname, join, relative, sep } from "node:path";
import { removeDirectory } from "../box-directory.ts";

/** The runtime as boxes get it, and where its parts are below `root`. */
export interface RuntimeCopy {
  readonly root: string;
  readonly executable: string;
  readonly shell: string;
}

/** A program that may be run but not read is one whose memory, environment and descriptors the kernel hides: not for its owner either. */
export const unreadable = 0o111;

/**
 * Puts the runtime below `parent`, once for each version of it; older copies are removed. The executable, and the
 * shell that is the first process of every box, become such files. The rest of the SDK's package, 100 MB, is linked where the file system
 * allows it. Rejects with the system's error.
 */
export const copyRuntime = async (executable: string, parent: string): Promise<RuntimeCopy> => {
  const program = await realpath(executable);
  const shell = await realpath("/bin/sh");
  const { source, files } = await partsOf(program);
  const name = await versionOf(source, [program, shell, ...files.map((file) => join(source, file))]);
  const root = join(parent, name);
  const copy: RuntimeCopy = { root, executable: relative(source, program), shell: join(".init", "sh") };
  const there = await access(root).then(
    () => true,
    () => false,
  );
  if (there) return copy;

  await mkdir(parent, { recursive: true });
  const making = join(parent, `.${name}-${randomBytes(4).toString("hex")}`);
  try {
    await mkdir(join(making, dirname(copy.shell)), { recursive: true, mode: 0o755 });
    for (const file of files) {
      const target = join(making, file);
      await mkdir(dirname(target), { recursive: true, mode: 0o755 });
      if (file === copy.executable) await copyUnreadable(program, target);
      else await linkOrCopy(join(source, file), target);
    }
    await copyUnreadable(shell, join(making, copy.shell));
    await chmod(making, 0o755);
    await rename(making, root);
  } catch (error) {
    await removeDirectory(making);
    throw error;
  }
  for (const other of await readdir(parent)) if (other !== name) await removeDirectory(join(parent, other));
  return copy;
};

/** Installers give all files the same time: what tells versions apart is size and inode. */
const versionOf = async (source: string, files: readonly string[]): Promise<string> => {
  const facts = await Promise.all(
    files.map(async (path) => {
      const { size, mtimeMs, ino } = await stat(path);
      return [relative(source, path), size, mtimeMs, ino];
    }),
  );
  return createHash("sha256").update(JSON.stringify(facts)).digest("hex").slice(0, 16);
};

/** The SDK's package as a whole, for it has tools and definitions beside `prebuilds`; else the program and its library. */
const partsOf = async (program: string): Promise<{ source: string; files: string[] }> => {
  const directory = dirname(program);
  const [platform, prebuilds] = [basename(directory), basename(dirname(directory))];
  if (prebuilds !== "prebuilds" || platform === "") {
    const siblings = await readdir(directory);
    return {
      source: directory,
      files: [basename(program), ...siblings.filter((file) => file === "runtime.node")],
    };
  }
  const source = dirname(dirname(directory));
  const entries = await readdir(source, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return { source, files: files.map((file) => file.slice(source.length + sep.length)) };
};

const copyUnreadable = async (source: string, target: string): Promise<void> => {
  await copyFile(source, target, constants.COPYFILE_FICLONE);
  await chmod(target, unreadable);
};

const linkOrCopy = async (source: string, target: string): Promise<void> => {
  try {
    await link(source, target);
  } catch {
    // Another file system, or one without links: a copy costs space, nothing else.
    await copyFile(source, target, constants.COPYFILE_FICLONE);
  }
};
