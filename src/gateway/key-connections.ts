import { LRUCache } from "lru-cache";
import { SquadronError } from "../kernel/errors.ts";
import type { Connection } from "./vocabulary.ts";

/** Revocations to remember: one needs to be known only as long as the authentication of a client takes. */
const remembered = 1_000;

const revoked = (): SquadronError =>
  new SquadronError("unauthenticated", "The key of this connection was revoked.");

/** Which open connections were opened with which key. */
export interface KeyConnections {
  /** Throws `unauthenticated` if the key was revoked while its client was being recognised. */
  check(keyId: string): void;
  add(keyId: string, connection: Connection): void;
  delete(keyId: string, connection: Connection): void;
  /** Closes the links of the key's connections, and refuses it from then on. */
  disconnect(keyId: string): void;
}

export const createKeyConnections = (): KeyConnections => {
  const byKey = new Map<string, Set<Connection>>();
  const gone = new LRUCache<string, true>({ max: remembered });
  return {
    check(keyId) {
      if (gone.has(keyId)) throw revoked();
    },
    add(keyId, connection) {
      const open = byKey.get(keyId) ?? new Set();
      byKey.set(keyId, open.add(connection));
    },
    delete(keyId, connection) {
      const open = byKey.get(keyId);
      open?.delete(connection);
      if (open?.size === 0) byKey.delete(keyId);
    },
    disconnect(keyId) {
      gone.set(keyId, true);
      for (const connection of [...(byKey.get(keyId) ?? [])]) connection.link.close(revoked());
    },
  };
};
