import type { Runtime } from "../fleet/fleet.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Commit, Store } from "../store/store.ts";
import { unitRoots } from "./roots.ts";
import { restoreFiles, type WorkingCopy } from "./working-copy.ts";

/**
 * The files that belong to a unit and not to one of its sessions: settings and the working directory. Kept for units
 * of one user or one session; in a runtime that several users share nobody may change them.
 */
export interface UnitStates {
  /** Puts a unit's files into a box that has just been bound to it. */
  populate(runtime: Runtime): Promise<void>;
  /** Lets a commit carry what has changed in the runtime's unit; one commit of a unit at a time. */
  carry<T>(runtime: Runtime, commit: (unit: Commit["unit"]) => Promise<T>): Promise<T>;
  /** Stores what has changed in the runtime's unit, which is this tenant's, outside any session. Rejects as the store does. */
  store(runtime: Runtime, tenant: string): Promise<void>;
  /** The runtime is gone, and its disk with it. */
  forget(runtime: Runtime): void;
}

export const createUnitStates = (options: {
  readonly store: Store;
  /** Bytes that a unit's files may have. */
  readonly maxBytes: number;
}): UnitStates => {
  const { store, maxBytes } = options;
  const kept = new Map<string, { readonly copy: WorkingCopy; last: Promise<unknown> }>();

  const carry: UnitStates["carry"] = (runtime, commit) => {
    const unit = kept.get(runtime.id);
    if (unit === undefined) return commit(undefined);
    const carried = unit.last.then(async () => {
      const changes = await unit.copy.changes();
      if (changes.files.length === 0) return commit(undefined);
      const result = await commit({ key: runtime.unit.key, files: changes.files, maxBytes });
      changes.accept();
      return result;
    });
    unit.last = carried.catch(() => undefined);
    return carried;
  };

  return {
    async populate(runtime) {
      const { isolation, key } = runtime.unit;
      if (isolation === "shared" || isolation === "tenant") return;
      const files = await store.state.files({ kind: "unit", key });
      const copy = await restoreFiles({ roots: unitRoots(runtime), files, maxBytes, owner: runtime.owner });
      kept.set(runtime.id, { copy, last: Promise.resolve() });
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
      kept.delete(runtime.id);
    },
  };
};
