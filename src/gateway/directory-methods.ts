import { isObject, type Json, type JsonObject } from "../kernel/json.ts";
import type { Principal } from "../kernel/principal.ts";
import { assertMay, type Part } from "../policy/session-rights.ts";
import { parseRecord } from "../sessions/record.ts";
import type { OwnedSession, SessionName } from "../store/store.ts";
import type { GatewayServices } from "./gateway-services.ts";
import { heldSession, sessionName } from "./session-calls.ts";
import type { Attachment, Connection, Leaving } from "./vocabulary.ts";

/** How many sessions one `session.list` shows; beyond it the HTTP API pages. */
const listLimit = 10_000;

/** An answer of the node itself to a call of one connection. */
export type LocalAnswer = (
  services: GatewayServices,
  connection: Connection,
  params: Record<string, unknown>,
) => Promise<unknown>;

const time = (ms: number): string => new Date(ms).toISOString();

/** A session as lists of the protocol show it. */
export const describe = (
  { name, createdAt, lastUsedAt, title, record, owner }: OwnedSession,
  { user }: Pick<Principal, "user">,
): JsonObject => {
  // The client and the directory are the founder's.
  const facts = owner === user ? parseRecord(record).facts : {};
  return {
    sessionId: name,
    startTime: time(createdAt),
    modifiedTime: time(lastUsedAt),
    isRemote: false,
    isDetached: false,
    ...(title === null ? {} : { summary: title, name: title }),
    ...(facts.clientName === undefined ? {} : { clientName: facts.clientName }),
    ...(facts.cwd === undefined ? {} : { context: { cwd: facts.cwd } }),
  };
};

/** The caller's sessions, the last used first. */
export const mine = async (
  { store, useLedger }: GatewayServices,
  { principal }: Connection,
): Promise<readonly OwnedSession[]> => {
  await useLedger.flush();
  const { sessions } = await store.sessions.list(principal.tenant, principal.user, { limit: listLimit });
  return sessions;
};

/** The caller's session of this name. */
export const named = (
  { store }: GatewayServices,
  { principal }: Connection,
  value: unknown,
): Promise<OwnedSession | undefined> =>
  store.sessions.byName(principal.tenant, principal.user, sessionName(value));

/** Does the session match every field that the client's filter names? */
const matches = (session: JsonObject, filter: unknown): boolean => {
  if (!isObject(filter)) return true;
  const context: Json | undefined = session.context;
  return Object.entries(filter).every(([key, wanted]) => isObject(context) && context[key] === wanted);
};

/** A resume that came in between has put another attachment in the place of this one, which stays. */
const letGo = async (attachment: Attachment, how: Leaving): Promise<void> => {
  const { connection, host, name } = attachment;
  await host.detach(attachment, how);
  if (connection.attachments.get(name) === attachment) connection.attachments.delete(name);
};

/** To have left already is a success for `detach` and none for `destroy`, as on a bare runtime. */
const leave =
  (how: Leaving): LocalAnswer =>
  async (_services, connection, params) => {
    const name = sessionName(params.sessionId);
    const attachment = connection.attachments.get(name);
    if (attachment === undefined) return { success: how === "detach" };
    await letGo(attachment, how);
    return { success: true };
  };

/** Deletes the session that the caller calls by this name; false when there is none. */
const remove = async (services: GatewayServices, connection: Connection, name: string): Promise<boolean> => {
  const row = await named(services, connection, name);
  if (row === undefined) return false;
  assertMay(partIn(row, connection.principal), "owner", "deleting it");
  return removeBy(services.hosts.delete, services, connection, row);
};

export const partIn = ({ role, owner }: OwnedSession, { user }: Pick<Principal, "user">): Part => ({
  role,
  founder: owner === user,
});

/** Deletes the session and tells the clients of all who took part; false when `erase` did not. */
export const removeBy = async (
  erase: (row: OwnedSession) => Promise<boolean>,
  services: GatewayServices,
  connection: Connection,
  row: OwnedSession,
): Promise<boolean> => {
  const names = await services.store.sessions.namesOf(row.id);
  if (!(await erase(row))) return false;
  if (row.ephemeral) return true;
  services.audit.record(connection.principal, {
    action: "session.delete",
    target: row.publicId,
    outcome: "ok",
  });
  tellDeleted(services, names);
  return true;
};

/** Tells the clients of everybody who took part in a session, by each one's own name for it, that it is no more. */
export const tellDeleted = (
  { connectionsOf }: Pick<GatewayServices, "connectionsOf">,
  names: readonly SessionName[],
): void => {
  for (const { name, ...who } of names)
    for (const { link } of connectionsOf(who))
      link.notify("session.lifecycle", { type: "session.deleted", sessionId: name });
};

/** A list of sessions' names as a client gives it. */
export const namesIn = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.map(sessionName) : [];

/** What clients ask of the directory of sessions: answered from what this user owns, never by a runtime. */
export const directoryMethods: Readonly<Record<string, LocalAnswer>> = {
  "session.detach": leave("detach"),
  "session.destroy": leave("destroy"),
  "sessions.close": async (_services, connection, params) => {
    const attachment = connection.attachments.get(sessionName(params.sessionId));
    if (attachment !== undefined) await letGo(attachment, "destroy");
    return {};
  },
  "sessions.save": async (services, connection, params) => {
    await heldSession(services, connection, params.sessionId, "sessions.save");
    return {};
  },

  "session.delete": async (services, connection, params) => {
    const name = sessionName(params.sessionId);
    return (await remove(services, connection, name))
      ? { success: true }
      : { success: false, error: `Session file not found for ${name}` };
  },
  "sessions.delete": async (services, connection, params) => {
    await remove(services, connection, sessionName(params.sessionId));
    return null;
  },
  "sessions.bulkDelete": async (services, connection, params) => {
    const freedBytes: Record<string, number> = {};
    for (const name of namesIn(params.sessionIds)) {
      if (await remove(services, connection, name)) freedBytes[name] = 0;
    }
    return { freedBytes };
  },

  "session.list": async (services, connection, { filter }) => ({
    sessions: (await mine(services, connection))
      .map((row) => describe(row, connection.principal))
      .filter((session) => matches(session, filter)),
  }),
  "sessions.list": async (services, connection) => ({
    sessions: (await mine(services, connection)).map((row) => describe(row, connection.principal)),
  }),
  "sessions.listNonEmptySessionIds": async (services, connection, { limit }) => {
    const names = (await mine(services, connection))
      .filter(({ title }) => title !== null)
      .map(({ name }) => name);
    return { sessionIds: typeof limit === "number" ? names.slice(0, Math.max(0, limit)) : names };
  },
  "sessions.findByPrefix": async (services, connection, { prefix }) => {
    const found = (await mine(services, connection)).filter(({ name }) => name.startsWith(String(prefix)));
    return found.length === 1 && found[0] !== undefined ? { sessionId: found[0].name } : {};
  },
  "sessions.checkInUse": async (services, connection, { sessionIds }) => {
    const inUse: string[] = [];
    for (const name of namesIn(sessionIds)) {
      const row = await named(services, connection, name);
      if (row !== undefined && (services.hosts.find(row.id)?.attachments.length ?? 0) > 0) inUse.push(name);
    }
    return { inUse };
  },
  "session.getMetadata": async (services, connection, params) => {
    const row = await named(services, connection, params.sessionId);
    return row === undefined ? {} : { session: describe(row, connection.principal) };
  },
  "sessions.getMetadata": async (services, connection, params) => {
    const row = await named(services, connection, params.sessionId);
    return row === undefined ? {} : { session: describe(row, connection.principal) };
  },
  /** Whoever goes on where they were does not mean to talk into a session of somebody else, who may have used it last. */
  "session.getLastId": async (services, connection) => {
    const last = (await mine(services, connection)).find((row) => partIn(row, connection.principal).founder);
    return last === undefined ? {} : { sessionId: last.name };
  },
  "session.getForeground": async () => ({}),
  "session.setForeground": async () => ({
    success: false,
    error: "Not running in TUI+server mode",
  }),
};
