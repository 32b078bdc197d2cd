import { randomBytes } from "node:crypto";
import { chmod, mkdir, readdir, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { killMarked, ownerTag } from "./leftovers.ts";
import type { BoxPlace } from "./sandbox/confinement.ts";
import { ownerLives } from "./sandbox/owner-life.ts";

/** Where boxes are; each name begins with the tag of the node process that it belongs to. */
const boxesPath = (statePath: string): string => join(resolve(statePath), "boxes");

/** Where earlier versions kept a directory for each unit. */
const unitsPath = (statePath: string): string => join(resolve(statePath), "units");

const tagForm = /^\d+\.\d+$/;

/** Makes the directories of one process: empty, and for nobody but us. They live as long as it does. */
export const makeBoxDirectory = async (
  statePath: string,
  commonWorkingDirectory: string | undefined,
): Promise<BoxPlace> => {
  const boxes = boxesPath(statePath);
  const root = join(boxes, `${ownerTag()}-${randomBytes(12).toString("hex")}`);
  const home = join(root, "home");
  const copilotHome = join(home, ".copilot");
  const temporary = join(root, "tmp");
  const own = join(root, "work");
  await mkdir(boxes, { recursive: true, mode: 0o700 });
  await mkdir(root, { mode: 0o700 });
  for (const path of [copilotHome, own, temporary]) await mkdir(path, { recursive: true, mode: 0o700 });
  // Whatever the process's mask is: nobody else looks in.
  await chmod(root, 0o700);
  return { root, home, copilotHome, work: commonWorkingDirectory ?? own, temporary };
};

/**
 * Removes a box's directories; its processes must be gone. They are renamed first, so that who still writes to or reads
 * from them finds nothing instead of a part.
 */
export const removeBoxDirectory = async (root: string): Promise<void> => {
  const aside = `${root}.gone`;
  await rename(root, aside);
  await removeDirectory(aside);
};

/**
 * Kills what the runtimes of nodes that are no more have left, and removes their directories: what a box had on disk
 * was a cache. Resolves with the number of processes killed. `signal` ends it early, between two directories.
 */
export const removeFormerBoxes = async (statePath: string, signal: AbortSignal): Promise<number> => {
  const boxes = boxesPath(statePath);
  const units = unitsPath(statePath);
  const own = ownerTag();
  const isFormer = (name: string): boolean => {
    const [tag = ""] = name.split("-");
    return tag !== own && !(tagForm.test(tag) && ownerLives(tag));
  };
  let killed = await killMarked(`${boxes}/`, isFormer);
  killed += await killMarked(`${units}/`, (path) => isFormer(path.split("/")[2] ?? ""));
  // Absent: this state directory is new.
  for (const name of await readdir(boxes).catch(() => [])) {
    if (signal.aborted) return killed;
    if (isFormer(name)) await removeDirectory(join(boxes, name));
  }
  if (!signal.aborted) await removeDirectory(units);
  return killed;
};

/** Removes a directory and all that is in it; something just killed may still have made a file meanwhile. */
export const removeDirectory = (path: string): Promise<void> =>
  rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 });
