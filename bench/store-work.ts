import BetterSqlite from "better-sqlite3";
import type { Store } from "../src/store/store.ts";
import type { StoreWork } from "./node-control.ts";

type Run = (this: BetterSqlite.Statement, ...parameters: unknown[]) => unknown;

/** Counts what SQLite executes in this process, and what is asked of this store; costs a few microseconds a statement. */
export const watchStore = (store: Store): (() => StoreWork) => {
  let statements = 0;
  let transactions = 0;
  let bytes = 0;
  let ms = 0;

  const memory = new BetterSqlite(":memory:");
  const prototype: { run: Run; all: Run } = Object.getPrototypeOf(memory.prepare("select 1"));
  memory.close();
  for (const method of ["run", "all"] as const) {
    const original = prototype[method];
    prototype[method] = function (...parameters) {
      statements++;
      if (this.source === "commit") transactions++;
      return original.apply(this, parameters);
    };
  }

  const timed =
    <Parameters extends unknown[], Result>(work: (...parameters: Parameters) => Promise<Result>) =>
    async (...parameters: Parameters): Promise<Result> => {
      const startedAt = performance.now();
      try {
        return await work(...parameters);
      } finally {
        ms += performance.now() - startedAt;
      }
    };
  const commit = timed(store.state.commit);
  const counted: typeof commit = (change) => {
    for (const file of change.files) if ("bytes" in file) bytes += file.bytes.length;
    return commit(change);
  };
  Object.assign(store.state, { commit: counted });
  Object.assign(store.turns, { insert: timed(store.turns.insert), begin: timed(store.turns.begin) });
  return () => ({ statements, transactions, bytes, ms });
};
