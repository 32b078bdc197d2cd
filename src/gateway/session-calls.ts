import { SquadronError } from "../kernel/errors.ts";
import { newId } from "../kernel/ids.ts";
import { isObject, type JsonObject } from "../kernel/json.ts";
import { type Judgement, judgeAgain } from "../policy/judge.ts";
import { assertMay, assertMayAsk, neededFor, type Part } from "../policy/session-rights.ts";
import { policyWithin } from "../policy/unit-policy.ts";
import { untold } from "../sessions/stored-events.ts";
import { RawJson } from "../wire/peer.ts";
import { answered } from "./crossed-end.ts";
import { rewriteEvent } from "./event-ids.ts";
import { forkSession } from "./fork.ts";
import type { GatewayServices } from "./gateway-services.ts";
import { withIds, withValues } from "./ids.ts";
import { tellIgnored } from "./ignored-parameters.ts";
import { clearQueue, ownPendingItems, pendingItems, removeMostRecent } from "./queue-calls.ts";
import { isAnswer } from "./request-kinds.ts";
import { answerOverSdk } from "./sdk-answers.ts";
import { forEverybody } from "./shown-event.ts";
import { admitTurn } from "./turn-admission.ts";
import { beginsTurn, mayBegin } from "./unqueued-turn.ts";
import type { Attachment, Connection, SessionHost } from "./vocabulary.ts";

/** A session as one connection holds it. */
interface Held {
  readonly name: string;
  readonly host: SessionHost;
  readonly attachment: Attachment | undefined;
  /** What the connection's user is in it. */
  readonly part: Part;
}

const notFound = (name: string): SquadronError =>
  new SquadronError("session_not_found", `Session not found: ${name}. Create or resume it first.`);

/** `params.sessionId` as a client gives it. */
export const sessionName = (value: unknown): string => {
  if (typeof value !== "string" || value === "" || value.length > 200) {
    throw new SquadronError("invalid_request", "sessionId must be a session's name, 1 to 200 characters.", {
      details: { parameter: "sessionId" },
    });
  }
  return value;
};

const hostNamed = async (
  services: GatewayServices,
  connection: Connection,
  name: string,
): Promise<SessionHost> => {
  const attached = connection.attachments.get(name);
  if (attached !== undefined) return attached.host;
  const { tenant, user } = connection.principal;
  const owned = await services.store.sessions.byName(tenant, user, name);
  const host = owned === undefined ? undefined : services.hosts.find(owned.id);
  if (host === undefined || (host.life !== "live" && host.attachments.length === 0)) throw notFound(name);
  return host;
};

/** Nodes do not tell each other of changes: another one may have made one that this one has not heard of. */
const partInStore = async (
  services: GatewayServices,
  { principal: { tenant, user } }: Connection,
  { row, access }: SessionHost,
): Promise<Part | undefined> => {
  const known = access.partOf({ tenant, user });
  if (known?.founder === true || row.ephemeral) return known;
  const stored = await services.store.sessions.byPublicId(row.publicId, tenant, user);
  if (stored?.role !== known?.role) await services.hosts.partChanged(row.id, user);
  return access.partOf({ tenant, user });
};

/**
 * The session that this connection means for a call of this method: one that it is attached to, or one of its user's that
 * is live. Rejects with `session_not_found`, and with `forbidden` when the user's part in it does not allow the method.
 */
export const heldSession = async (
  services: GatewayServices,
  connection: Connection,
  value: unknown,
  method: string,
): Promise<Held> => {
  const name = sessionName(value);
  const host = await hostNamed(services, connection, name);
  const part = await partInStore(services, connection, host);
  if (part === undefined) throw notFound(name);
  assertMay(part, neededFor(method), method);
  return { name, host, attachment: connection.attachments.get(name), part };
};

/** The work's answer, unless its user has been removed from the session meanwhile. */
export const whilePart = async <T>(
  { host }: Held,
  { principal }: Connection,
  work: Promise<T>,
): Promise<T> => {
  const answer = await work;
  host.access.assertPart(principal);
  return answer;
};

/** The parameters as the policy allows them for this session, which keeps the isolation that it was made with. */
export const paramsWithin = (
  { policy }: Connection,
  { row }: SessionHost,
  method: string,
  params: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> =>
  judgeAgain(policy, policyWithin(policy, row.isolation), method, params);

/** Does a call change nothing worth storing? Its name says so. */
export const onlyReads = (method: string): boolean =>
  /\.(get|list|read|is|has|check|search|preview|validate|discover|browse)\w*$/.test(method);

type Answer = (
  held: Held,
  params: Record<string, unknown>,
  connection: Connection,
  services: GatewayServices,
) => Promise<unknown>;

/** Calls that are more to us than bytes to pass on. */
const special: Readonly<Record<string, Answer>> = {
  "session.send": async ({ host, part }, params, connection) => {
    assertMayAsk(part, params);
    const crossed = host.mayCrossEnd(connection);
    const sent = await host.send(connection, params, { answer: "taken" });
    if (crossed) await answered(sent);
    return { messageId: sent.messageId };
  },
  "session.abort": async ({ host, part }, params, connection) => {
    // What runs then is the session's own, such as a task in the background.
    if (host.turn === undefined && host.waiting.length === 0 && part.founder)
      return new RawJson((await host.call("session.abort", params)).resultBytes());
    const { turns, foreign } = await host.abort(connection);
    return foreign && turns.length === 0
      ? { success: false, error: "The turn that runs is another's, who alone may abort it." }
      : { success: true };
  },
  "session.queue.pendingItems": ({ host, part }, _params, connection) =>
    part.founder ? pendingItems(host) : ownPendingItems(host, connection),
  "session.queue.removeMostRecent": ({ host, part }, _params, connection) =>
    removeMostRecent(host, connection, part),
  "session.queue.clear": ({ host, part }, _params, connection) => clearQueue(host, connection, part),
  "session.options.update": async ({ host, part, name }, params, connection, services) => {
    if (part.founder) return new RawJson((await host.updateOptions(params as JsonObject)).resultBytes());
    const ignoredParameters = Object.keys(params);
    tellIgnored(services, connection, name, ignoredParameters);
    return { success: false, ignoredParameters };
  },
  "session.provider.add": async ({ host }, params) =>
    new RawJson((await host.addProviders(params as JsonObject)).resultBytes()),
  "session.eventLog.registerInterest": async (
    { host, attachment, part, name },
    params,
    connection,
    services,
  ) => {
    if (!part.founder) {
      tellIgnored(services, connection, name, [`interest in ${String(params.eventType)}`]);
      return { handle: newId("interest") };
    }
    const frame =
      attachment === undefined
        ? await host.call("session.eventLog.registerInterest", params)
        : await host.registerInterest(attachment, String(params.eventType));
    return new RawJson(frame.resultBytes());
  },
  "session.eventLog.releaseInterest": async ({ host, attachment, part }, params) => {
    if (!part.founder) return { success: true };
    const handle = String(params.handle);
    const interest = attachment?.interests.get(handle);
    attachment?.interests.delete(handle);
    const frame = await host.call("session.eventLog.releaseInterest", {
      ...params,
      handle: interest?.handle ?? handle,
    });
    return new RawJson(frame.resultBytes());
  },
};

/** Calls that a node which is closing does not take. */
const begins: ReadonlySet<string> = new Set(["session.send", "sessions.fork"]);

/** Forwards a judged call to the runtime of the session that it names, ids rewritten in both directions. */
export const callSession = async (
  services: GatewayServices,
  connection: Connection,
  judgement: Judgement,
): Promise<unknown> => {
  const { entry, params } = judgement;
  const held = await heldSession(services, connection, params.sessionId, entry.method);
  return whilePart(held, connection, callHeld(services, connection, held, judgement));
};

/** Of a history, what somebody with this part sees: what the model is told beside what is written is the founder's. */
const eventsFor = ({ founder }: Part, events: readonly unknown[]): readonly unknown[] =>
  founder
    ? events
    : events.filter((event) => !isObject(event) || !untold.has(String(event.type))).map(forEverybody);

const callHeld = async (
  services: GatewayServices,
  connection: Connection,
  held: Held,
  { entry, params: judged }: Judgement,
): Promise<unknown> => {
  const { sessionId: _name, ...rest } = paramsWithin(connection, held.host, entry.method, judged);
  const reads = isAnswer(entry.method) || onlyReads(entry.method);
  if (begins.has(entry.method) || (mayBegin(entry.method) && !reads)) services.admit();
  if (beginsTurn(entry.method)) await admitTurn(services, connection.principal, connection.policy.limits);
  if (services.requests.isForeign(rest.requestId, held.host.row.id)) return { success: false };
  if (isAnswer(entry.method))
    return answerOverSdk(services, connection, held.host, held.part, entry.method, rest);
  if (entry.method === "sessions.fork") return forkSession(services, connection, held.host, rest);
  if (entry.method === "session.shell.exec") return services.shells.exec(connection, held.host, rest);
  const answer = special[entry.method];
  if (answer !== undefined) return answer(held, rest, connection, services);

  let upstream: unknown = rest;
  for (const path of entry.ids.params) {
    if (path !== "sessionId") upstream = await withForeignIds(services, connection, upstream, path);
  }
  const ask = reads ? held.host.call : held.host.change;
  const frame = await ask(entry.method, isObject(upstream) ? upstream : {});
  if (entry.ids.result.length === 0 && entry.ids.events.length === 0) return new RawJson(frame.resultBytes());
  const sessions = (id: string) => (id === held.host.row.id ? held.name : undefined);
  let result = frame.result();
  for (const path of entry.ids.result) result = withIds(result, path, sessions);
  const rewritten = (event: unknown) => rewriteEvent(event, sessions, held.host.clientMessageId);
  for (const path of entry.ids.events) {
    result = withValues(result, path, (events) =>
      Array.isArray(events) ? eventsFor(held.part, events).map(rewritten) : events,
    );
  }
  return result;
};

/** Other sessions that a parameter names must have been founded by the caller. */
export const withForeignIds = async (
  services: GatewayServices,
  { principal }: Connection,
  params: unknown,
  path: string,
): Promise<unknown> => {
  const ids = new Map<string, string>();
  const names: string[] = [];
  withIds(params, path, (name) => {
    names.push(name);
    return undefined;
  });
  for (const name of names) {
    const row = await services.store.sessions.byName(principal.tenant, principal.user, name);
    if (row === undefined) throw notFound(name);
    assertMay({ role: row.role, founder: row.owner === principal.user }, "founder", "naming it here");
    ids.set(name, row.id);
  }
  return withIds(params, path, (name) => ids.get(name));
};
