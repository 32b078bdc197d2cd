import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Clock } from "../kernel/clock.ts";
import type { Store } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";
import type { FileBounds } from "./file-bounds.ts";
import { openWorkingCopy } from "./working-copy.ts";

/** Rows looked at in one go. */
const pageSize = 500;

/** Where a node of version 0.1 had the files of a session. */
const formerDirectory = (unit: string, session: string): readonly string[] => [
  createHash("sha256").update(unit).digest("hex").slice(0, 32),
  "home",
  ".copilot",
  "session-state",
  session,
];

/**
 * Takes into the store what a node of version 0.1 had in its state directory only. To be called before anything of that
 * directory is removed; how many sessions were taken. A session that the store has files of is left as it is.
 */
export const takeFormerUnits = async (options: {
  readonly store: Store;
  readonly statePath: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly bounds: FileBounds;
}): Promise<number> => {
  const { store, statePath, clock, log, bounds } = options;
  const units = join(resolve(statePath), "units");
  if (!existsSync(units)) return 0;
  let taken = 0;
  for (let cursor: string | undefined; ; ) {
    const page = await store.sessions.listAll({ limit: pageSize, ...(cursor !== undefined && { cursor }) });
    for (const { id, unit, sizeBytes } of page.sessions) {
      const path = formerDirectory(unit, id);
      if (sizeBytes > 0 || !existsSync(join(units, ...path))) continue;
      const held = await store.state.acquire(id, clock.now());
      if (held === undefined) continue;
      const root = {
        base: units,
        path,
        prefix: "",
        ignore: (name: string) => name.endsWith(".lock"),
        isLog: (name: string) => name === "events.jsonl",
      };
      const { files } = await openWorkingCopy({ roots: [root], bounds }).changes();
      await store.state.commit({ sessionId: id, ...held, files, maxBytes: bounds.maxBytes });
      taken++;
    }
    cursor = page.next;
    if (cursor === undefined) break;
  }
  log.info({ taken }, "took the sessions of an earlier version into the store");
  return taken;
};
