import { execFile } from "node:child_process";
import { rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import BetterSqlite from "better-sqlite3";
import { tempDir } from "../../support/temp.ts";
import type { Attempt } from "../journal.ts";
import { lasting, runOn } from "../pause.ts";
import type { Scenario } from "../scenario.ts";
import { runFaults } from "../scenario.ts";

const run = promisify(execFile);

/** Clear enough: it says that it is the store. */
const namesTheStore = ({ outcome }: Attempt): boolean => {
  if (outcome.kind === "answered") return true;
  if (outcome.kind === "refused") return outcome.code === "store_unavailable";
  return "message" in outcome && /\bstored?\b/i.test(outcome.message);
};

/** Longer than the store waits for another process's write. */
const longestLockMs = 7_000;

/** Another process holds the store's write lock while turns run, shortly and for longer than the node waits. */
export const lockStore: Scenario = (options) =>
  runFaults(options, {
    settleMs: longestLockMs + 5_000,
    expects: namesTheStore,
    async round({ world, load, random, round, fault }) {
      await runOn(random, { least: 100, most: 400 });
      const other = new BetterSqlite(world.databasePath, { timeout: 5_000 });
      try {
        other.exec("BEGIN IMMEDIATE");
        fault("the store is locked");
        await lasting(round % 2 === 1 ? longestLockMs : 1_000);
        other.exec("ROLLBACK");
        fault("the store is free again");
      } finally {
        other.close();
      }
      await load.answered(load.sessions.length);
    },
  });

const diskBytes = 24 * 2 ** 20;

/** Writes until nothing fits any more. */
const fill = (directory: string, file: string): void => {
  for (let part = 0; ; part++) {
    const { bavail, bsize } = statfsSync(directory);
    if (bavail === 0) return;
    try {
      writeFileSync(`${file}-${part}`, Buffer.alloc(Math.min(bavail * bsize, 2 ** 20)));
    } catch (error) {
      // The node writes too.
      if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
    }
  }
};

/** The disk of the store fills up while turns run, and is emptied again. Needs the right to mount one. */
export const fillDisk: Scenario = async (options) => {
  await using directory = await tempDir("disk");
  await run("mount", ["-t", "tmpfs", "-o", `size=${diskBytes}`, "tmpfs", directory.path]);
  try {
    return await runFaults(options, {
      world: { databasePath: join(directory.path, "squadron.db") },
      settleMs: 10_000,
      expects: namesTheStore,
      async round({ load, random, fault }) {
        await runOn(random, { least: 100, most: 400 });
        const filler = join(directory.path, "filler");
        try {
          fault("the disk is full");
          fill(directory.path, filler);
          await load.failed(load.sessions.length);
        } finally {
          for (let part = 0; part <= diskBytes / 2 ** 20; part++)
            rmSync(`${filler}-${part}`, { force: true });
        }
        fault("the disk has room again");
        await load.answered(load.sessions.length);
      },
    });
  } finally {
    await run("umount", ["-l", directory.path]);
  }
};
