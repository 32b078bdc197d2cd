import type { Config } from "../config/config.ts";
import { createJanitor, type Janitor } from "../sessions/janitor.ts";
import { tellDeleted } from "./directory-methods.ts";
import type { GatewayServices } from "./gateway-services.ts";

/** In whose name the node itself acts. */
const nodeUser = "squadron";

/** The janitor of this node's sessions: what it deletes is audited, and the clients of all who took part are told. */
export const createExpiry = (
  { defaults, tenants, http }: Pick<Config, "defaults" | "tenants" | "http">,
  services: GatewayServices,
): Janitor => {
  const { clock, store, log, hosts, useLedger, audit } = services;
  return createJanitor({
    clock,
    store,
    log,
    timesToLive: {
      defaultMs: defaults.sessions.ttlMs,
      tenants: Object.fromEntries(
        Object.entries(tenants).map(([tenant, { sessions }]) => [tenant, sessions.ttlMs]),
      ),
    },
    requestKeysMs: http.idempotencyTtlMs,
    noteUses: useLedger.flush,
    inUse: hosts.isInUse,
    async remove(session) {
      // A turn may have begun and ended since the janitor looked.
      await useLedger.flush();
      const row = await store.sessions.byId(session.id);
      const names = await store.sessions.namesOf(session.id);
      if (row?.lastUsedAt !== session.lastUsedAt || !(await hosts.deleteUnused(row))) return false;
      const { tenant, publicId } = session;
      audit.record(
        { tenant, user: nodeUser, roles: [] },
        { action: "session.expire", target: publicId, outcome: "ok" },
      );
      tellDeleted(services, names);
      return true;
    },
  });
};
