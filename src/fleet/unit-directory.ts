import { createHash, randomBytes } from "node:crypto";
import { chmod, mkdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { ownerTag } from "./leftovers.ts";

/** What a runtime has on disk. Everything is below `root`, which only our uid can enter. */
export interface UnitDirectory {
  readonly root: string;
  readonly home: string;
  readonly copilotHome: string;
  readonly work: string;
  /** Temporary files of one process; its path marks the process and all its children (see leftovers.ts). */
  readonly temporary: string;
}

export const unitsPath = (statePath: string): string => join(resolve(statePath), "units");

/** The directory of a unit. Its name tells nothing of the tenant or the user, and no key can point out of it. */
export const unitRoot = (statePath: string, unitKey: string): string =>
  join(unitsPath(statePath), createHash("sha256").update(unitKey).digest("hex").slice(0, 32));

const copilotHomeIn = (root: string): string => join(root, "home", ".copilot");

/** Where a unit's runtime keeps the files of one session. */
export const sessionDirectory = (statePath: string, unitKey: string, sessionId: string): string =>
  join(copilotHomeIn(unitRoot(statePath, unitKey)), "session-state", sessionId);

/** Makes what is missing, with an own temporary directory for a process that is about to start. */
export const prepareUnitDirectory = async (statePath: string, unitKey: string): Promise<UnitDirectory> => {
  const root = unitRoot(statePath, unitKey);
  const home = join(root, "home");
  const copilotHome = copilotHomeIn(root);
  const work = join(root, "work");
  const temporaries = join(root, "tmp");
  const temporary = join(temporaries, `${ownerTag()}-${randomBytes(4).toString("hex")}`);
  await mkdir(root, { recursive: true, mode: 0o700 });
  await chmod(root, 0o700);
  // What processes left there that were killed; a unit has one process at a time.
  await removeDirectory(temporaries);
  for (const path of [copilotHome, work, temporary]) await mkdir(path, { recursive: true, mode: 0o700 });
  return { root, home, copilotHome, work, temporary };
};

/** Removes a directory and all that is in it; something just killed may still have made a file meanwhile. */
export const removeDirectory = (path: string): Promise<void> =>
  rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 });
