import type { Policy } from "../config/config.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Principal } from "../kernel/principal.ts";
import type { Secret } from "../kernel/secret.ts";
import { judgeCall } from "../policy/judge.ts";
import { assertMayAsk } from "../policy/session-rights.ts";
import { methodEntry } from "../wire/method-table.ts";
import type { FairShare } from "./fair-share.ts";
import type { GatewayServices } from "./gateway-services.ts";
import { localMethods } from "./local-methods.ts";
import { createSession, hold } from "./opening.ts";
import { callSession, heldSession, paramsWithin, whilePart } from "./session-calls.ts";
import { callUnit } from "./unit-calls.ts";
import type { ClientLink, Connection } from "./vocabulary.ts";

export interface ConnectionOptions {
  readonly id: string;
  readonly principal: Principal;
  readonly policy: Policy;
  readonly link: ClientLink;
  readonly githubToken: Secret | undefined;
  readonly services: GatewayServices;
  /** The user's, over all connections. */
  readonly share: FairShare;
  readonly onClosed: (connection: Connection) => void;
}

const denials: ReadonlySet<string> = new Set([
  "method_denied",
  "method_unknown",
  "parameter_denied",
  "model_denied",
  "forbidden",
]);

/** An upstream that went away while we asked is said as such: its own words name an inner connection. */
const outward = (error: unknown): unknown =>
  error instanceof SquadronError && error.code === "connection_closed"
    ? new SquadronError(
        "runtime_gone",
        "The runtime of this session has gone; send again and the session wakes in another one.",
        {
          cause: error,
        },
      )
    : error;

export const createConnection = (options: ConnectionOptions): Connection => {
  const { principal, policy, link, services } = options;
  const { metrics, audit, log } = services;
  let closing: Promise<void> | undefined;

  const denied = (method: string, error: SquadronError): void => {
    metrics.frameDenied(methodEntry(method) === undefined ? "unknown" : method);
    audit.record(principal, {
      action: "call",
      target: method.slice(0, 100),
      outcome: error.code,
      detail: error.message.slice(0, 300),
    });
    log.info({ connection: options.id, method: method.slice(0, 100), code: error.code }, "call denied");
  };

  const guarded = async <T>(method: string, run: () => Promise<T>): Promise<T> => {
    const turn = options.share.take();
    if (turn !== undefined) await turn;
    if (closing !== undefined)
      throw new SquadronError("connection_closed", "This connection has been closed.");
    try {
      return await run();
    } catch (error) {
      if (error instanceof SquadronError && denials.has(error.code)) denied(method, error);
      throw outward(error);
    }
  };

  const leaveAll = async (): Promise<void> => {
    const attached = [...connection.attachments.values()];
    connection.attachments.clear();
    const results = await Promise.allSettled(
      attached.map((attachment) => attachment.host.detach(attachment)),
    );
    for (const result of results) {
      if (result.status === "rejected")
        log.warn({ connection: options.id, error: result.reason }, "detaching failed");
    }
    options.onClosed(connection);
  };

  const connection: Connection = {
    id: options.id,
    principal,
    policy,
    link,
    githubToken: options.githubToken,
    attachments: new Map(),
    get open() {
      return closing === undefined;
    },
    request: (method, params) =>
      guarded(method, async () => {
        const judged = judgeCall(policy, method, params);
        if (judged.verdict === "allow") return callSession(services, connection, judged);
        if (judged.verdict === "unit") return callUnit(services, connection, judged);
        const answer = localMethods[method];
        if (answer === undefined)
          throw new SquadronError("internal", `Squadron has no answer for ${method} yet its table says so.`);
        return answer(services, connection, judged.params);
      }),
    create: (params, traits) =>
      guarded("session.create", async () =>
        createSession(services, connection, judgeCall(policy, "session.create", params).params, traits),
      ),
    send: (params, how = { answer: "taken" }) =>
      guarded("session.send", async () => {
        services.admit();
        const judged = judgeCall(policy, "session.send", params);
        const held = await heldSession(services, connection, judged.params.sessionId, "session.send");
        const { host, part } = held;
        const { sessionId: _name, ...message } = paramsWithin(
          connection,
          host,
          "session.send",
          judged.params,
        );
        assertMayAsk(part, message);
        return whilePart(held, connection, host.send(connection, message, how));
      }),
    abort: (name, turnId) =>
      guarded("session.abort", async () => {
        const { host } = await heldSession(services, connection, name, "session.abort");
        return host.abort(connection, turnId);
      }),
    watch: (name) =>
      guarded("session.resume", async () => {
        const row = await services.store.sessions.byName(principal.tenant, principal.user, name);
        if (row === undefined)
          throw new SquadronError("session_not_found", `There is no session named ${name}.`);
        const host = await services.hosts.of(row);
        if (host.access.partOf(principal) === undefined)
          await services.hosts.partChanged(row.id, principal.user);
        await hold(host.watch(connection, name));
      }),
    close() {
      closing ??= leaveAll();
      return closing;
    },
  };
  return connection;
};
