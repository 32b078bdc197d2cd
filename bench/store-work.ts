import BetterSqlite from "better-sqlite3";
import type { Store } from "../src/store/store.ts";
import type { StoreWork } from "./node-control.ts";

type Run = (this: BetterSqlite.Statement, ...parameters: unknown[]) => unknown;

/** Counts what SQLite executes in this process, and what is asked of this store; costs a few microseconds a statement. */
export const watchStore = (store: Store): (() => StoreWork) => {
  let statements = 0;
  let synced = 0;
  let inTransaction = false;
  let passing = false;
  let bytes = 0;
  let ms = 0;

  /** A commit, or a write outside any transaction, waits for the disk, unless it is one that need not (`Database.passing`). */
  const follow = (text: string): void => {
    if (text === "begin immediate") inTransaction = true;
    else if (text === "rollback") inTransaction = false;
    else if (text.startsWith("pragma synchronous =")) passing = text.endsWith("normal");
    else if (text === "commit" || (!inTransaction && /^(insert|update|delete|replace)\b/i.test(text))) {
      if (!passing) synced++;
      inTransaction = false;
    }
  };

  const memory = new BetterSqlite(":memory:");
  const prototype: { run: Run; all: Run } = Object.getPrototypeOf(memory.prepare("select 1"));
  memory.close();
  for (const method of ["run", "all"] as const) {
    const original = prototype[method];
    prototype[method] = function (...parameters) {
      statements++;
      const result = original.apply(this, parameters);
      follow(this.source.trim());
      return result;
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
  return () => ({ statements, synced, bytes, ms });
};
