import { SquadronError } from "../kernel/errors.ts";
import { newUuid } from "../kernel/ids.ts";
import type { JsonObject } from "../kernel/json.ts";
import { judgeAgain } from "../policy/judge.ts";
import { policyWithin } from "../policy/unit-policy.ts";
import { KeyUsed } from "../sessions/key-used.ts";
import { newSession } from "../sessions/new-session.ts";
import { emptyRecord, recordAfterResume, type SessionRecord } from "../sessions/record.ts";
import type { NewSession, SessionRow } from "../store/store.ts";
import { splitParameters } from "./declarations.ts";
import { unlessDeleted } from "./deleted.ts";
import type { GatewayServices } from "./gateway-services.ts";
import { githubTokenOf } from "./github-token.ts";
import { ignoredIn, tellIgnored } from "./ignored-parameters.ts";
import { sessionName } from "./session-calls.ts";
import { takeCredentials } from "./upstream-parameters.ts";
import type { Attachment, Connection, NewSessionTraits, Opening } from "./vocabulary.ts";

const ordinary: NewSessionTraits = { ephemeral: false, visibility: "private" };

/** There from the first moment: a node that dies over the session's creation leaves it as it was asked for. */
const firstRecord = (
  { link }: Connection,
  params: Readonly<Record<string, unknown>>,
  { ephemeral }: NewSessionTraits,
): SessionRecord => {
  const begun: SessionRecord =
    link.kind === "http" ? { ...emptyRecord, facts: { overHttp: true } } : emptyRecord;
  // Of a one-shot session nothing that was said is written down.
  return ephemeral
    ? begun
    : recordAfterResume(begun, takeCredentials(splitParameters(params).recorded).parameters);
};

/** The row of the session of this name, made if the user has none. The name is unique in the store, however many ask at once. */
const claim = async (
  services: GatewayServices,
  connection: Connection,
  name: string,
  params: Readonly<Record<string, unknown>>,
  traits: NewSessionTraits,
): Promise<{ row: SessionRow; made: boolean }> => {
  const { store, clock, quota } = services;
  const { principal, policy } = connection;
  const { tenant, user } = principal;
  for (;;) {
    const existing = await store.sessions.byName(tenant, user, name);
    if (existing !== undefined && traits.mustBeNew === true) {
      throw new SquadronError("name_taken", "You have a session of this name already.", {
        details: { id: existing.publicId },
      });
    }
    if (existing !== undefined) return { row: existing, made: false };
    services.admit();
    const row: NewSession = {
      ...newSession(principal, policy.isolation, clock.now()),
      record: JSON.stringify(firstRecord(connection, params, traits)),
      ephemeral: traits.ephemeral,
      visibility: traits.visibility,
      senderNames: traits.senderNames === true,
      ttlMs: traits.ttlMs ?? null,
    };
    const place = traits.ephemeral ? undefined : await quota.take(principal, policy.limits);
    const create = () => store.sessions.create(row, name, traits.key);
    const outcome = await (place === undefined ? create() : place.fill(create));
    if (outcome === "created") return { row: { ...row, sizeBytes: 0 }, made: true };
    if (outcome === "key_used") throw new KeyUsed();
  }
};

/** A session's models come from a provider or from GitHub. A token of the key or the policy steps back silently, a client's does not. */
const refuseTokenBesideProvider = (
  { policy }: Connection,
  kind: Opening["kind"],
  params: Readonly<Record<string, unknown>>,
): void => {
  if (typeof params.gitHubToken !== "string" || params.gitHubToken === "") return;
  const details = { method: `session.${kind}`, parameter: "gitHubToken" };
  if (params.provider !== undefined)
    throw new SquadronError(
      "invalid_request",
      `Cannot specify both gitHubToken and provider in session.${kind}.`,
      { details },
    );
  if (policy.provider !== undefined && params.providers === undefined)
    throw new SquadronError(
      "parameter_denied",
      `session.${kind} may not have gitHubToken: the models of this node come from the provider of its policy. Leave it out.`,
      { details },
    );
};

const open = async (
  services: GatewayServices,
  connection: Connection,
  name: string,
  row: SessionRow,
  kind: Opening["kind"],
  params: Readonly<Record<string, unknown>>,
): Promise<JsonObject> => {
  if (row.owner !== connection.principal.user) return join(services, connection, name, row, kind, params);
  const policy = policyWithin(connection.policy, row.isolation);
  const parameters = judgeAgain(connection.policy, policy, `session.${kind}`, params);
  const host = await services.hosts.of(row);
  const { attachment, result } = await host.open(connection, name, {
    kind,
    parameters,
    githubToken: githubTokenOf(connection, params),
    ownInference: services.inference.offers(connection),
  });
  await hold(attachment);
  // A session that was live had its runtime prepared for others.
  const { runtime, attachments } = host;
  if (runtime !== undefined)
    await services
      .prepare(runtime, policy, attachments)
      .catch((error) => services.log.info({ session: row.id, error }, "a runtime could not be prepared"));
  if (!row.ephemeral) services.useLedger.used(row.id, 0, 0);
  services.log.info({ session: row.id, id: row.publicId, connection: connection.id, kind }, "session opened");
  return { ...result, sessionId: name, nativeSessionId: name };
};

/** A session that somebody else has founded: its record stays as it is, and the answer says what was asked for in vain. */
const join = async (
  services: GatewayServices,
  connection: Connection,
  name: string,
  row: SessionRow,
  kind: Opening["kind"],
  parameters: Readonly<Record<string, unknown>>,
): Promise<JsonObject> => {
  const { principal } = connection;
  const host = await services.hosts.of(row);
  if (host.access.partOf(principal) === undefined) await services.hosts.partChanged(row.id, principal.user);
  const { attachment, result } = await host.open(connection, name, {
    kind,
    parameters,
    githubToken: undefined,
    ownInference: false,
  });
  await hold(attachment);
  services.useLedger.used(row.id, 0, 0);
  services.log.info({ session: row.id, connection: connection.id, role: attachment.role }, "session joined");
  const ignoredParameters = ignoredIn(parameters);
  tellIgnored(services, connection, name, ignoredParameters);
  const { capabilities } = result;
  return {
    sessionId: name,
    nativeSessionId: name,
    ...(capabilities !== undefined && { capabilities }),
    role: attachment.role,
    ignoredParameters,
  };
};

/** Notes the attachment with its connection; one that has closed meanwhile leaves at once. */
export const hold = async (attachment: Attachment): Promise<void> => {
  const { connection, host, name } = attachment;
  host.access.assertPart(connection.principal);
  if (connection.open) {
    const earlier = connection.attachments.get(name);
    // The order is that in which sessions were opened.
    connection.attachments.delete(name);
    connection.attachments.set(name, attachment);
    // What had this name has another one by now.
    if (earlier !== undefined && earlier.host !== host) await earlier.host.detach(earlier);
  } else await host.detach(attachment);
};

/** `session.create`: a new session, or a join of one's own existing one, whose history goes on. */
export const createSession = async (
  services: GatewayServices,
  connection: Connection,
  params: Readonly<Record<string, unknown>>,
  traits: NewSessionTraits = ordinary,
): Promise<JsonObject> => {
  refuseTokenBesideProvider(connection, "create", params);
  const asked = params.sessionId;
  const name = asked === undefined || asked === "" ? newUuid() : sessionName(asked);
  for (;;) {
    const { row, made } = await claim(services, connection, name, params, traits);
    try {
      const opened = await unlessDeleted(open(services, connection, name, row, "create", params));
      if (opened !== undefined) return opened;
    } catch (error) {
      if (made) await services.hosts.discard(row);
      throw error;
    }
  }
};

/** `session.resume`: attaches to one's own session and gives it new parameters. */
export const resumeSession = async (
  services: GatewayServices,
  connection: Connection,
  params: Readonly<Record<string, unknown>>,
): Promise<JsonObject> => {
  const name = sessionName(params.sessionId);
  const { tenant, user } = connection.principal;
  const row = await services.store.sessions.byName(tenant, user, name);
  if (row?.owner === undefined || row.owner === user) refuseTokenBesideProvider(connection, "resume", params);
  const opened = row && (await unlessDeleted(open(services, connection, name, row, "resume", params)));
  if (opened === undefined)
    throw new SquadronError("session_not_found", `Failed to load session events: Session not found: ${name}`);
  return opened;
};
