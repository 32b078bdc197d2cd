import { rm } from "node:fs/promises";
import type { Policy } from "../config/config.ts";
import type { Runtime } from "../fleet/fleet.ts";
import type { OwnedSession, SessionRow } from "../store/store.ts";
import type { HostServices } from "./host-services.ts";
import { createIdleUnits } from "./idle-units.ts";
import { createSessionHost } from "./session-host.ts";
import type { SessionHost } from "./vocabulary.ts";

/** Every session that this node has open, one host each, however many ask at once. */
export interface Hosts {
  /** The host of a session, made if there is none. */
  of(row: SessionRow): Promise<SessionHost>;
  find(sessionId: string): SessionHost | undefined;
  list(): readonly SessionHost[];
  /** Gives the owner's session another name. Connections that are attached keep the one that they used. */
  rename(row: OwnedSession, name: string): Promise<"renamed" | "name_taken" | "not_found">;
  /** Removes the session from its runtime, from disk and from the store. */
  delete(row: SessionRow): Promise<void>;
  runtimeClosed(runtime: Runtime): void;
}

export const createHosts = (options: {
  readonly services: Omit<HostServices, "idleUnits">;
  readonly policyOf: (tenant: string) => Policy;
}): Hosts => {
  const { policyOf } = options;
  const { store, fleet, clock, log } = options.services;
  const hosts = new Map<string, Promise<SessionHost>>();
  const opened = new Map<string, SessionHost>();
  const idleUnits = createIdleUnits({
    clock,
    fleet,
    log,
    inUse: (key) => [...opened.values()].some((host) => host.unit.key === key && host.runtime !== undefined),
  });
  const services: HostServices = { ...options.services, idleUnits };

  const ownersName = async ({ id, tenant, owner }: SessionRow): Promise<string> => {
    const names = await store.sessions.namesOf(id);
    return names.find((one) => one.tenant === tenant && one.user === owner)?.name ?? "";
  };

  const make = async (row: SessionRow): Promise<SessionHost> => {
    const host = createSessionHost({
      services,
      row,
      name: await ownersName(row),
      policy: policyOf(row.tenant),
      renamed: await store.messageIds.of(row.id),
      onUnused: () => {
        if (host.attachments.length === 0 && !host.busy && host.life === "asleep") forget(row.id);
      },
    });
    opened.set(row.id, host);
    return host;
  };

  const forget = (id: string): void => {
    hosts.delete(id);
    opened.delete(id);
  };

  const of = (row: SessionRow): Promise<SessionHost> => {
    let host = hosts.get(row.id);
    if (host === undefined) {
      host = make(row);
      hosts.set(row.id, host);
      host.catch(() => forget(row.id));
    }
    return host;
  };

  return {
    of,
    find: (sessionId) => opened.get(sessionId),
    list: () => [...opened.values()],
    async rename(row, name) {
      const renamed = await store.sessions.rename(row.tenant, row.owner, row.name, name);
      const host = opened.get(row.id);
      if (renamed === "renamed" && host !== undefined) host.name = name;
      return renamed;
    },
    async delete(row) {
      const host = await of(row);
      await host.bury(async () => {
        const runtime = fleet.find(host.unit.key);
        if (runtime !== undefined) await runtime.peer.request("session.delete", { sessionId: row.id });
        else await rm(fleet.sessionDirectory(host.unit.key, row.id), { recursive: true, force: true });
        await store.sessions.delete(row.id);
      });
      for (const { connection, name } of host.attachments) connection.attachments.delete(name);
      forget(row.id);
      if (host.unit.isolation === "session" && !(await store.sessions.anyInUnit(host.unit.key))) {
        await fleet.removeState(host.unit.key);
      } else await idleUnits.left(host.unit, policyOf(row.tenant).sessions.hibernateAfterMs);
    },
    runtimeClosed(runtime) {
      for (const host of opened.values()) host.runtimeClosed(runtime);
    },
  };
};
