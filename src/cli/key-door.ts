import type { Config } from "../config/config.ts";
import { createKey } from "../identity/keys.ts";
import type { Role } from "../kernel/principal.ts";
import { openStore } from "../store/open-store.ts";
import type { KeyRow } from "../store/store.ts";
import { type Key, keys, newKey, nothing } from "./answers.ts";
import { readConfig } from "./configuration.ts";
import { CommandFailure, exitCodes } from "./failure.ts";
import { type NodeClient, type NodeOptions, nodeClient } from "./node-client.ts";
import { note } from "./terminal.ts";

export interface WantedKey {
  readonly tenant: string;
  readonly user: string;
  readonly roles: readonly Role[];
  readonly label: string;
}

/** Where keys are made and revoked: a node, or the store itself when no node runs. */
export interface KeyDoor {
  create(wanted: WantedKey): Promise<Key & { readonly key: string }>;
  /** Newest first. */
  list(options: { readonly tenant?: string; readonly limit: number }): Promise<readonly Key[]>;
  /** Rejects when there is no such key, or it is revoked already. */
  revoke(id: string): Promise<void>;
}

const nodeDoor = (node: NodeClient): KeyDoor => ({
  create: (wanted) => node.call("POST", "/v1/admin/keys", newKey, { body: wanted }),
  async list({ tenant, limit }) {
    const query = new URLSearchParams({ limit: String(limit), ...(tenant !== undefined && { tenant }) });
    return (await node.call("GET", `/v1/admin/keys?${query}`, keys)).keys;
  },
  revoke: (id) => node.call("DELETE", `/v1/admin/keys/${encodeURIComponent(id)}`, nothing),
});

const time = (at: number): string => new Date(at).toISOString();

const describe = ({ hash: _, ...row }: KeyRow): Key => ({
  ...row,
  roles: [...row.roles],
  createdAt: time(row.createdAt),
  lastUsedAt: row.lastUsedAt === null ? null : time(row.lastUsedAt),
  revokedAt: row.revokedAt === null ? null : time(row.revokedAt),
});

const storeDoor = ({ store: { url } }: Config): KeyDoor => {
  const withKeys = async <T>(
    use: (store: Awaited<ReturnType<typeof openStore>>) => Promise<T>,
  ): Promise<T> => {
    const store = await openStore(url);
    try {
      return await use(store);
    } finally {
      await store.close();
    }
  };
  return {
    create: (wanted) =>
      withKeys(async (store) => {
        const { key, row } = await createKey(store, wanted);
        return { ...describe(row), key: key.reveal() };
      }),
    list: (options) => withKeys(async (store) => (await store.keys.list(options)).map(describe)),
    revoke: (id) =>
      withKeys(async (store) => {
        if (!(await store.keys.revoke(id)))
          throw new CommandFailure(exitCodes.failed, "There is no such key, or it is revoked already.");
        note(
          "squadron: SDK connections that a running node has open with it stay open until it is restarted",
        );
      }),
  };
};

/**
 * Runs `use` with the node's door. If no URL was given and no node answers at the configuration's address, with the door of
 * its store: whoever may write its file needs no key, which is how a first one can be made.
 */
export const withKeyDoor = async <T>(
  options: NodeOptions,
  use: (door: KeyDoor) => Promise<T>,
): Promise<T> => {
  try {
    return await use(nodeDoor(await nodeClient(options)));
  } catch (error) {
    const nobody = error instanceof CommandFailure && error.exitCode === exitCodes.unreachable;
    if (!nobody || options.url !== undefined) throw error;
    const config = await readConfig(options.config);
    note(`squadron: no node answers, using the store itself: ${config.store.url}`);
    return use(storeDoor(config));
  }
};
