import type { Policy } from "../config/config.ts";
import type { Runtime } from "../fleet/fleet.ts";
import { policyWithin } from "../policy/unit-policy.ts";
import { eraseFrom } from "../sessions/session-state.ts";
import { leaseNameOf } from "../sessions/unit.ts";
import type { OwnedSession, SessionRow } from "../store/store.ts";
import { sessionDeleted, unlessDeleted } from "./deleted.ts";
import { createEventLogs, type EventLogs } from "./event-logs.ts";
import { createGuests, type Visitor } from "./guests.ts";
import type { HostServices } from "./host-services.ts";
import { createKeyedOrder } from "./keyed-order.ts";
import { createLivePlaces } from "./live-places.ts";
import { createPresence, type Presence } from "./presence.ts";
import { createResidence } from "./residence.ts";
import { createSessionHost } from "./session-host.ts";
import type { SessionHost } from "./vocabulary.ts";

/** Every session that this node has open, one host each, however many ask at once. */
export interface Hosts {
  /** The host of a session, made if there is none; rejects with `session_deleted` when the session is no more. */
  of(row: SessionRow): Promise<SessionHost>;
  find(sessionId: string): SessionHost | undefined;
  list(): readonly SessionHost[];
  /** Gives the session another name of this user's. Connections that are attached keep the one that they used. */
  rename(row: OwnedSession, user: string, name: string): Promise<"renamed" | "name_taken" | "not_found">;
  /** What the store says of a user's part in a session has changed, see `SessionHost.changePart`. */
  partChanged(sessionId: string, user: string): Promise<void>;
  /**
   * Removes the session from its runtime, from disk and from the store; false when another did so before. Rejects with
   * `held_elsewhere`.
   */
  delete(row: SessionRow): Promise<boolean>;
  /** Is anybody attached to it, or does it work? */
  isInUse(sessionId: string): boolean;
  /** As `delete`, unless the session is in use; waits for no other node. */
  deleteUnused(row: SessionRow): Promise<boolean>;
  /** Removes a session that could not be created, unless another client has created it meanwhile. */
  discard(row: SessionRow): Promise<void>;
  /** Works in a unit's runtime for none of its sessions, see `Guests.visit`. */
  visit<T>(visitor: Visitor, work: (runtime: Runtime) => Promise<T>): Promise<T>;
  readonly presence: Presence;
  /** Who has sent a message of the session, by the id that clients know it by, as far as is known now. */
  sendersOf(row: SessionRow): Promise<(messageId: string | undefined) => string>;
  /** What a session tells, for as long as its reader likes, see `EventLogs.read`. */
  readonly read: EventLogs["read"];
  runtimeClosed(runtime: Runtime): void;
  /** The runtime is worn out: its sessions leave it, then it is ended. */
  recycle(runtime: Runtime): void;
  /** Sessions that wait for a place among the live ones. */
  readonly waiting: number;
}

/** Longest wait for a runtime to delete a session; its files are removed in any case. */
const deleteWithinMs = 10_000;

export const createHosts = (options: {
  readonly services: Omit<HostServices, "places" | "residence" | "eventLogs" | "presence">;
  readonly limits: { readonly runtimes: number; readonly sessions: number };
  readonly policyOf: (tenant: string) => Policy;
}): Hosts => {
  const { policyOf } = options;
  const { store, fleet, clock, log, metrics, units, holdings } = options.services;
  const hosts = new Map<string, Promise<SessionHost>>();
  const opened = new Map<string, SessionHost>();
  const hostsIn = (runtime: Runtime): readonly SessionHost[] =>
    [...opened.values()].filter((host) => host.runtime === runtime);
  const residence = createResidence({
    clock,
    fleet,
    log,
    lodgersOf: (runtime) => [...hostsIn(runtime), ...guests.in(runtime)],
  });
  const places = createLivePlaces({
    clock,
    limit: options.limits.sessions,
    maxRuntimes: options.limits.runtimes,
    boundUnits: () => fleet.boundUnits(),
    freeRuntime: () => residence.freeOne(),
    onEvicted: (reason) => metrics.evicted(reason),
  });
  const guests = createGuests({ clock, fleet, holdings, places, residence });
  const eventLogs = createEventLogs({ clock, store, hostOf: (session) => opened.get(session) });
  const presence = createPresence({ clock, log, store, hostOf: (session) => opened.get(session) });
  const partChanges = createKeyedOrder();
  const services: HostServices = { ...options.services, places, residence, eventLogs, presence };

  /** The caller read its row before it knew that there is no host: since then one may have changed or deleted the session. */
  const make = async (id: string): Promise<SessionHost> => {
    const row = await store.sessions.byId(id);
    if (row === undefined) throw sessionDeleted();
    const names = await store.sessions.namesOf(id);
    // Another node may have removed somebody who reads here.
    eventLogs.keepReaders(id, new Set(names.map(({ user }) => user)));
    const host = createSessionHost({
      services,
      row,
      names,
      policy: policyWithin(policyOf(row.tenant), row.isolation),
      messages: await store.messages.of(row.id),
      onUnused: () => {
        const unused = host.attachments.length === 0 && !host.busy && host.life === "hibernated";
        // One that has been forgotten may say so again; the session may have another host by then.
        if (unused && opened.get(row.id) === host) forget(row.id);
      },
    });
    opened.set(row.id, host);
    await host.resume();
    return host;
  };

  const forget = (id: string): void => {
    hosts.delete(id);
    opened.delete(id);
    eventLogs.release(id);
  };

  const of = (row: SessionRow): Promise<SessionHost> => {
    let host = hosts.get(row.id);
    if (host === undefined) {
      host = make(row.id);
      hosts.set(row.id, host);
      const made = host;
      made.catch(() => {
        if (hosts.get(row.id) === made) forget(row.id);
      });
    }
    return host;
  };

  /** Where it slept, or its runtime has left something, its files are there still. */
  const eraseFromBoxes = async (id: string, unitKey: string): Promise<void> => {
    for (const runtime of fleet.runtimes()) {
      if (runtime.unit.key !== unitKey) continue;
      await eraseFrom(runtime, id).catch((error) =>
        log.error({ session: id, error }, "files of a deleted session lie in a box until it ends"),
      );
    }
  };

  /** A runtime that dies over it or does not answer keeps no session alive. */
  const erase = async ({ row: { id }, unit, runtime }: SessionHost): Promise<void> => {
    await runtime?.peer
      .request("session.delete", { sessionId: id }, { timeoutMs: deleteWithinMs })
      .catch((error) => log.warn({ session: id, error }, "the runtime did not delete the session"));
    await store.sessions.delete(id);
    await eraseFromBoxes(id, unit.key);
  };

  const remove = async (row: SessionRow, may: (host: SessionHost) => boolean): Promise<boolean> => {
    const host = await unlessDeleted(of(row));
    if (host === undefined || !(await host.bury(() => erase(host), may))) return false;
    for (const { connection, name } of host.attachments) connection.attachments.delete(name);
    eventLogs.deleted(row.id);
    forget(row.id);
    return true;
  };

  const held = async <T>(row: SessionRow, work: () => Promise<T>, waitMs?: number): Promise<T> => {
    const holding = await holdings.take(
      leaseNameOf({ isolation: row.isolation, key: row.unit }, row.id),
      waitMs,
    );
    try {
      return await work();
    } finally {
      holding.release();
    }
  };

  const isUnused = ({ attachments, busy, life, evictable }: SessionHost): boolean =>
    attachments.length === 0 && !busy && (life === "hibernated" || evictable);

  return {
    of,
    isInUse(sessionId) {
      const host = opened.get(sessionId);
      return host !== undefined && !isUnused(host);
    },
    deleteUnused: (row) => held(row, () => remove(row, isUnused), 0),
    find: (sessionId) => opened.get(sessionId),
    list: () => [...opened.values()],
    async rename(row, user, name) {
      const renamed = await store.sessions.rename(row.tenant, user, row.name, name);
      const host = opened.get(row.id);
      if (renamed === "renamed" && host !== undefined && user === row.owner) host.name = name;
      return renamed;
    },
    partChanged: (sessionId, user) =>
      partChanges.run(sessionId, async () => {
        const row = await store.sessions.byId(sessionId);
        if (row === undefined) return;
        const names = await store.sessions.namesOf(sessionId);
        const role = names.find((one) => one.user === user)?.role ?? null;
        await (await unlessDeleted(of(row)))?.changePart(user, role);
      }),
    delete: (row) => held(row, () => remove(row, () => true)),
    async discard(row) {
      await remove(row, ({ created, attachments }) => !created && attachments.length === 0);
    },
    visit: guests.visit,
    read: eventLogs.read,
    presence,
    async sendersOf({ id, owner }) {
      const stored = await store.messages.of(id);
      const known = [...stored.values(), ...(opened.get(id)?.messages.values() ?? [])];
      const senders = new Map(known.map(({ clientId, sender }) => [clientId, sender]));
      return (messageId) => (messageId === undefined ? undefined : senders.get(messageId)) ?? owner;
    },
    runtimeClosed(runtime) {
      units.forget(runtime);
      for (const host of hostsIn(runtime)) host.runtimeClosed(runtime);
      residence.closed(runtime);
      places.changed();
    },
    recycle: (runtime) => residence.recycle(runtime),
    get waiting() {
      return places.waiting;
    },
  };
};
