import type { Json, JsonObject } from "../kernel/json.ts";
import { isObject } from "../kernel/json.ts";
import { parseRecord } from "../sessions/record.ts";
import type { OwnedSession } from "../store/store.ts";
import type { GatewayServices } from "./gateway-services.ts";
import { createSession, resumeSession } from "./opening.ts";
import { heldSession, sessionName } from "./session-calls.ts";
import type { Connection } from "./vocabulary.ts";

/** The protocol that we speak, the same as the runtime's. */
export const protocolVersion = 3;

/** How many sessions one `session.list` shows; beyond it the HTTP API pages. */
const listLimit = 10_000;

type Answer = (services: GatewayServices, connection: Connection, params: Record<string, unknown>) => Promise<unknown>;

const time = (ms: number): string => new Date(ms).toISOString();

const describe = ({ name, createdAt, lastUsedAt, title, record }: OwnedSession): JsonObject => {
  const { facts } = parseRecord(record);
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

const mine = async ({ store }: GatewayServices, { principal }: Connection): Promise<readonly OwnedSession[]> => {
  const { sessions } = await store.sessions.list(principal.tenant, principal.user, { limit: listLimit });
  return sessions.filter(({ ephemeral }) => !ephemeral);
};

const named = ({ store }: GatewayServices, { principal }: Connection, value: unknown): Promise<OwnedSession | undefined> =>
  store.sessions.byName(principal.tenant, principal.user, sessionName(value));

/** Does the session match every field that the client's filter names? */
const matches = (session: JsonObject, filter: unknown): boolean => {
  if (!isObject(filter)) return true;
  const context: Json | undefined = session["context"];
  return Object.entries(filter).every(([key, wanted]) => isObject(context) && context[key] === wanted);
};

/** What the node answers itself: whatever speaks about the whole runtime, and the life of sessions. */
export const localMethods: Readonly<Record<string, Answer>> = {
  ping: async ({ clock }, _connection, { message }) => ({
    message: `pong: ${typeof message === "string" ? message : ""}`,
    timestamp: time(clock.now()),
    protocolVersion,
  }),
  "status.get": async ({ runtimeVersion }) => ({ version: runtimeVersion, protocolVersion }),
  "auth.getStatus": async (_services, { principal }) => ({
    isAuthenticated: true,
    authType: "token",
    login: principal.user,
    statusMessage: `Signed in to Squadron as ${principal.user} of ${principal.tenant}`,
  }),
  "models.list": async ({ modelsOf }, connection) => ({
    models: (await modelsOf(connection)).map(({ id, name }) => ({
      id,
      name,
      capabilities: { supports: { vision: false, reasoningEffort: false }, limits: { max_context_window_tokens: 200_000 } },
    })),
  }),

  "session.create": createSession,
  "session.resume": resumeSession,
  "session.destroy": async (services, connection, params) => {
    const { host, name, attachment } = await heldSession(services, connection, params["sessionId"]);
    connection.attachments.delete(name);
    if (attachment !== undefined) await host.detach(attachment);
    return { success: true };
  },
  "session.delete": async (services, connection, params) => {
    const name = sessionName(params["sessionId"]);
    const row = await named(services, connection, name);
    if (row === undefined) return { success: false, error: `Session file not found for ${name}` };
    await services.hosts.delete(row);
    services.audit.record(connection.principal, { action: "session.delete", target: row.publicId, outcome: "ok" });
    for (const other of services.connectionsOf(connection.principal)) {
      other.link.notify("session.lifecycle", { type: "session.deleted", sessionId: name });
    }
    return { success: true };
  },

  "session.list": async (services, connection, { filter }) => ({
    sessions: (await mine(services, connection)).map(describe).filter((session) => matches(session, filter)),
  }),
  "session.getMetadata": async (services, connection, params) => {
    const row = await named(services, connection, params["sessionId"]);
    return row === undefined ? {} : { session: describe(row) };
  },
  "session.getLastId": async (services, connection) => {
    const [last] = await mine(services, connection);
    return last === undefined ? {} : { sessionId: last.name };
  },
  "session.getForeground": async () => ({}),
  "session.setForeground": async () => ({
    success: false,
    error: "Squadron has no terminal: there is no foreground session to set.",
  }),
};
