import { type Clock, systemClock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import { openSqliteStore } from "./sqlite/sqlite-store.ts";
import type { Store } from "./store.ts";

/**
 * Opens the store, made and migrated if need be. `sqlite:<path>` is a file of this host, relative to the current directory.
 * `holder` names the node in what it begins, see `LeaseStore`. Rejects with `config_invalid` for another kind of URL, `store_unavailable` when the file cannot be used.
 */
export const openStore = (url: string, options: { clock?: Clock; holder?: string } = {}): Promise<Store> => {
  const path = /^sqlite:(.+)$/.exec(url)?.[1];
  if (path === undefined) {
    const error = new SquadronError("config_invalid", "store.url must be sqlite:<path>.");
    return Promise.reject(error);
  }
  return openSqliteStore(path, options.clock ?? systemClock, options.holder);
};
