import type { Holding, Holdings } from "../coordination/holdings.ts";
import type { Runtime } from "../fleet/fleet.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Commit, Store } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";
import type { FileBounds } from "./file-bounds.ts";
import { unitRoots } from "./roots.ts";
import { keepsFiles } from "./unit.ts";
import { restoreFiles, type WorkingCopy } from "./working-copy.ts";

/**
 * The files that belong to a unit and not to one of its sessions: settings and the working directory. Kept for units
 * of one user or one session; in a runtime that several users share nobody may change them.
 */
export interface UnitStates {
  /**
   * Puts a unit's files into a box that has just been bound to it, which holds the unit from then on: if that is lost,
   * the runtime is killed. Rejects as `Holdings.take`.
   */
  populate(runtime: Runtime): Promise<void>;
  /** Lets a commit carry what has changed in the runtime's unit; one commit of a unit at a time. */
  carry<T>(runtime: Runtime, commit: (unit: Commit["unit"]) => Promise<T>): Promise<T>;
  /** Stores what has changed in the runtime's unit, which is this tenant's, outside any session. Rejects as the store does. */
  store(runtime: Runtime, tenant: string): Promise<void>;
  /** The runtime is gone, and its disk with it. */
  forget(runtime: Runtime): void;
}

interface Kept {
  readonly copy: WorkingCopy;
  readonly epoch: number;
  readonly holding: Holding;
  last: Promise<unknown>;
}

export const createUnitStates = (options: {
  readonly store: Store;
  readonly holdings: Holdings;
  readonly log: Log;
  /** Bytes that a unit's files may have. */
  readonly bounds: FileBounds;
}): UnitStates => {
  const { store, holdings, log, bounds } = options;
  const kept = new Map<string, Kept>();

  const carry: UnitStates["carry"] = (runtime, commit) => {
    const unit = kept.get(runtime.id);
    if (unit === undefined) return commit(undefined);
    const carried = unit.last.then(async () => {
      const changes = await unit.copy.changes();
      if (changes.files.length === 0) return commit(undefined);
      const result = await commit({
        key: runtime.unit.key,
        epoch: unit.epoch,
        files: changes.files,
        maxBytes: bounds.maxBytes,
      });
      changes.accept();
      return result;
    });
    unit.last = carried.catch(() => undefined);
    return carried;
  };

  return {
    async populate(runtime) {
      if (!keepsFiles(runtime.unit)) return;
      const { key } = runtime.unit;
      const holding = await holdings.take(key);
      try {
        const epoch = await store.state.acquireUnit(key);
        const files = await store.state.files({ kind: "unit", key });
        const copy = await restoreFiles({ roots: unitRoots(runtime), files, bounds, owner: runtime.owner });
        if (runtime.gone)
          throw new SquadronError("runtime_gone", "The runtime ended before it had its files.");
        holding.lost.throwIfAborted();
        kept.set(runtime.id, { copy, epoch, holding, last: Promise.resolve() });
      } catch (error) {
        holding.release();
        throw error;
      }
      holding.lost.addEventListener("abort", () => {
        if (!kept.has(runtime.id)) return;
        log.warn({ runtime: runtime.id, unit: key }, "another node has taken over the unit of a runtime");
        runtime
          .kill()
          .catch((error) => log.error({ runtime: runtime.id, error }, "a runtime could not be ended"));
      });
    },
    carry,
    store: (runtime, tenant) =>
      carry(runtime, async (unit) => {
        // Its disk is removed only after the runtime is known to be gone: what was read before that is whole.
        if (runtime.gone)
          throw new SquadronError("runtime_gone", "The runtime ended before what was changed was stored.");
        if (unit !== undefined)
          await store.state.commitUnit({ ...unit, tenant, isolation: runtime.unit.isolation });
      }),
    forget(runtime) {
      kept.get(runtime.id)?.holding.release();
      kept.delete(runtime.id);
    },
  };
};
