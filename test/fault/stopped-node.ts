import { readFileSync, writeFileSync } from "node:fs";
import BetterSqlite from "better-sqlite3";
import { eventually } from "../support/wait.ts";
import type { World } from "./world.ts";

const pidOf = ({ node }: World): number => {
  if (node === undefined) throw new Error("The node does not run.");
  return node.pid;
};

/** Does anybody hold the write lock of the store? */
const isWriting = (path: string): boolean => {
  const database = new BetterSqlite(path, { timeout: 0 });
  try {
    database.exec("BEGIN IMMEDIATE; ROLLBACK");
    return false;
  } catch {
    return true;
  } finally {
    database.close();
  }
};

/**
 * SIGSTOP, but not in the middle of a write: a process that is stopped there keeps everybody else from writing the one
 * file, whatever leases say.
 */
export const stopNode = (world: World): Promise<unknown> =>
  eventually(
    () => {
      process.kill(pidOf(world), "SIGSTOP");
      if (!isWriting(world.databasePath)) return true;
      process.kill(pidOf(world), "SIGCONT");
      return false;
    },
    { what: "the node is stopped between two writes" },
  );

/** Has the node stop itself at the point of `stopAt`; resolves when it has. */
export const stopNodeAtPoint = async (world: World, file: string, meanwhile: () => void): Promise<void> => {
  writeFileSync(file, "");
  meanwhile();
  const isStopped = (): boolean => /\) T /.test(readFileSync(`/proc/${pidOf(world)}/stat`, "utf8"));
  await eventually(isStopped, { what: "the node has stopped itself", deadlineMs: 30_000 });
  await stopNode(world);
};

export const continueNode = (world: World): void => {
  process.kill(pidOf(world), "SIGCONT");
};

/** A counter of the node's metrics. */
export const counterOf = async ({ endpoints }: World, name: string): Promise<number> => {
  const text = await (await fetch(`${endpoints.http}/metrics`)).text();
  return Number(new RegExp(`^squadron_${name} (\\d+)`, "m").exec(text)?.[1] ?? 0);
};
