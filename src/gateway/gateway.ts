import { type Config, policyOf } from "../config/config.ts";
import type { Holdings } from "../coordination/holdings.ts";
import type { Fleet, Runtime } from "../fleet/fleet.ts";
import type { Clock } from "../kernel/clock.ts";
import { withDeadline } from "../kernel/deadline.ts";
import { SquadronError } from "../kernel/errors.ts";
import { newId } from "../kernel/ids.ts";
import type { Principal } from "../kernel/principal.ts";
import type { Secret } from "../kernel/secret.ts";
import type { ModelGrant, ModelRoute, Usage } from "../models/grant.ts";
import type { ModelGateway } from "../models/model-gateway.ts";
import type { UnitStates } from "../sessions/unit-state.ts";
import type { Store } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Webhooks } from "../webhooks/webhooks.ts";
import type { PeerHandler } from "../wire/peer.ts";
import { createAuditTrail } from "./audit-trail.ts";
import { createClientInference } from "./client-inference.ts";
import { createConnection } from "./connection.ts";
import { createFairShare, type FairShare } from "./fair-share.ts";
import type { GatewayServices } from "./gateway-services.ts";
import type { HostServices } from "./host-services.ts";
import { createHosts } from "./hosts.ts";
import { createKeyConnections } from "./key-connections.ts";
import { createLaunchProviders } from "./launch-providers.ts";
import { createParticipants } from "./participants.ts";
import { createRequestOwners } from "./request-owners.ts";
import { type ResumedQueues, resumeQueues } from "./resumed-queues.ts";
import { createRuntimeService } from "./runtime-service.ts";
import { createSessionQuota } from "./session-quota.ts";
import { createShells } from "./shells.ts";
import { createTelemetryForwarding } from "./telemetry-forwarding.ts";
import { createTokenBudgets } from "./token-budgets.ts";
import { createTurnPlaces } from "./turn-places.ts";
import { createTurnRates } from "./turn-rates.ts";
import { createUseLedger } from "./use-ledger.ts";
import type { ClientLink, Connection, SessionHost } from "./vocabulary.ts";

/** The one door: every face opens connections here, and here alone runtimes are spoken with. */
export interface Gateway {
  /** A new connection of a client that was authenticated with this key. Throws `unauthenticated` if it was revoked since. */
  connect(principal: Principal, link: ClientLink, githubToken: Secret | undefined, keyId: string): Connection;
  /** The client's `connect` asked for the telemetry of its sessions. */
  forwardTelemetry(connection: Connection): void;
  /** Ends every connection that was opened with this key, which is revoked; no new one is opened with it. */
  disconnectKey(keyId: string): void;
  /** What a runtime may ask of us and tell us. */
  serve(runtime: Runtime): PeerHandler;
  runtimeClosed(runtime: Runtime): void;
  /** Where the model calls of a session may go. */
  grant(sessionId: string | undefined): ModelGrant | undefined;
  /** Tokens of a model call that a session made. */
  countTokens(sessionId: string, usage: Pick<Usage, "inputTokens" | "outputTokens">): void;
  readonly hosts: readonly SessionHost[];
  readonly connections: number;
  readonly services: GatewayServices;
  /** Takes no new session and no message any more, and waits for the turns; what still runs after `withinMs` is interrupted. */
  drain(withinMs: number): Promise<void>;
  readonly draining: boolean;
  /** After a drain: the turns are over, and none will begin any more. */
  readonly drained: boolean;
  /** The runtime is worn out: its sessions go on elsewhere. */
  recycle(runtime: Runtime): void;
  /** Ends every turn, visibly. To be called while clients can still be told, before the doors close. */
  stopTurns(): Promise<void>;
  /** Runs what nodes had promised to run that live no more; looks for more of it each `everyMs` milliseconds. */
  resumeQueues(everyMs: number): void;
  /** Deletes what an earlier run of this node left of one-shot sessions. */
  removeLeftovers(): Promise<void>;
  close(): Promise<void>;
}

export interface GatewayOptions {
  readonly config: Pick<Config, "defaults" | "tenants" | "runtimes">;
  readonly units: UnitStates;
  readonly holdings: Holdings;
  readonly clock: Clock;
  readonly store: Store;
  readonly fleet: Fleet;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly models: Pick<ModelGateway, "httpRequestStart" | "httpRequestChunk" | "runtimeClosed">;
  readonly webhooks: Webhooks;
  readonly modelsOf: GatewayServices["modelsOf"];
  readonly githubRoutes: readonly ModelRoute[];
  readonly runtimeVersion: string;
}

/** Longest wait for sessions to leave their runtimes when the node closes. */
const closeWithinMs = 2_000;

/** When a client may look again for a node that was draining. */
const drainingRetrySeconds = 2;

/** Clients forget what they have received and not yet looked at when their connection ends: time to look at it. */
const hearingMs = 100;

const userKey = ({ tenant, user }: Pick<Principal, "tenant" | "user">): string =>
  JSON.stringify([tenant, user]);

export const createGateway = (options: GatewayOptions): Gateway => {
  const { config, clock, store, fleet, log, metrics, models } = options;
  const inference = createClientInference(log);
  const launchProviders = createLaunchProviders(log);
  const telemetry = createTelemetryForwarding(log);
  const shells = createShells(log);
  const requests = createRequestOwners();
  const audit = createAuditTrail({ store, clock, log });
  const byUser = new Map<string, Set<Connection>>();
  const byKeyId = createKeyConnections();
  const shares = new Map<string, FairShare>();
  let draining = false;
  let resumed: ResumedQueues | undefined;
  let drained = false;
  const useLedger = createUseLedger({ store, clock, log });
  const turnRates = createTurnRates(clock);
  const turnPlaces = createTurnPlaces();
  const tokenBudgets = createTokenBudgets({ store, clock, log });
  const prepare: HostServices["prepare"] = async (runtime, policy, attachments) => {
    if (policy.allow.all)
      await Promise.all([launchProviders.prepare(runtime), telemetry.prepare(runtime, attachments)]);
  };
  const hosts = createHosts({
    services: {
      useLedger,
      turnRates,
      turnPlaces,
      tokenBudgets,
      shells,
      prepare,
      clock,
      store,
      fleet,
      log,
      metrics,
      units: options.units,
      holdings: options.holdings,
      webhooks: options.webhooks,
      githubRoutes: options.githubRoutes,
    },
    limits: { runtimes: config.runtimes.max, sessions: config.runtimes.maxSessions },
    policyOf: (tenant) => policyOf(config, tenant),
  });
  const services: GatewayServices = {
    useLedger,
    turnRates,
    turnPlaces,
    tokenBudgets,
    shells,
    prepare,
    launchProviders,
    units: options.units,
    holdings: options.holdings,
    webhooks: options.webhooks,
    clock,
    store,
    fleet,
    log,
    metrics,
    hosts,
    inference,
    requests,
    audit,
    participants: createParticipants({ store, hosts, audit, clock }),
    quota: createSessionQuota(store),
    githubRoutes: options.githubRoutes,
    runtimeVersion: options.runtimeVersion,
    modelsOf: options.modelsOf,
    admit() {
      if (draining)
        throw new SquadronError(
          "draining",
          "This node is shutting down; try again, on another node if there is one.",
          {
            details: { retryAfter: drainingRetrySeconds },
          },
        );
    },
    connectionsOf: (principal) => [...(byUser.get(userKey(principal)) ?? [])],
  };

  /** What a runtime asks for none of its sessions is GitHub's list of models, with the token of the session that it opens. */
  const unnamed: ModelGrant = { allowModels: [], routes: options.githubRoutes };

  const grant = (sessionId: string | undefined): ModelGrant | undefined =>
    sessionId === undefined ? unnamed : hosts.find(sessionId)?.grant;

  const serve = createRuntimeService({ services, models, telemetry });

  const stopTurns = async (): Promise<void> => {
    const busy = hosts.list().filter((host) => host.busy);
    for (const host of hosts.list()) {
      host.stop(
        "The node is shutting down; the turn was interrupted. Send the message again if you want it answered.",
      );
    }
    if (busy.length > 0) await new Promise<void>((resolve) => clock.after(hearingMs, resolve));
  };

  return {
    services,
    grant,
    countTokens: (sessionId, usage) => hosts.find(sessionId)?.countTokens(usage),
    get hosts() {
      return hosts.list();
    },
    get connections() {
      return [...byUser.values()].reduce((sum, { size }) => sum + size, 0);
    },
    forwardTelemetry: telemetry.want,
    disconnectKey: byKeyId.disconnect,
    connect(principal, link, githubToken, keyId) {
      byKeyId.check(keyId);
      const key = userKey(principal);
      const share = shares.get(key) ?? createFairShare();
      shares.set(key, share);
      const connection = createConnection({
        id: newId("con"),
        principal,
        policy: policyOf(config, principal.tenant),
        link,
        githubToken,
        services,
        share,
        onClosed: (closed) => {
          inference.forget(closed);
          launchProviders.forget(closed);
          byKeyId.delete(keyId, closed);
          const open = byUser.get(key);
          open?.delete(closed);
          if (open?.size !== 0) return;
          byUser.delete(key);
          shares.delete(key);
        },
      });
      const open = byUser.get(key) ?? new Set();
      byUser.set(key, open.add(connection));
      byKeyId.add(keyId, connection);
      return connection;
    },
    serve,
    runtimeClosed(runtime) {
      models.runtimeClosed(runtime.id);
      inference.runtimeClosed(runtime);
      hosts.runtimeClosed(runtime);
    },
    recycle: hosts.recycle,
    get draining() {
      return draining;
    },
    get drained() {
      return drained;
    },
    async drain(withinMs) {
      draining = true;
      resumed?.stop();
      const settled = Promise.all(hosts.list().map((host) => host.settle()));
      await withDeadline(settled, { clock, ms: withinMs, what: "The running turns" }).catch((error) =>
        log.warn({ error }, "some turns did not end in time"),
      );
      await stopTurns();
      drained = true;
    },
    stopTurns,
    resumeQueues(everyMs) {
      resumed = resumeQueues({ store, hosts, clock, log, everyMs });
    },
    async removeLeftovers() {
      for (const row of await store.sessions.ephemerals())
        await hosts.deleteUnused(row).catch((error: unknown) => {
          // Another node has it at work.
          if (!(error instanceof SquadronError && error.code === "held_elsewhere")) throw error;
        });
    },
    async close() {
      resumed?.stop();
      // Runtimes end after this whatever their sessions say: nobody waits long for one that does not answer.
      const left = Promise.allSettled(
        [...byUser.values()].flatMap((open) => [...open].map((connection) => connection.close())),
      );
      await withDeadline(left, { clock, ms: closeWithinMs, what: "Leaving the sessions" }).catch((error) =>
        log.warn({ error }, "some sessions did not leave their runtimes"),
      );
      await audit.close();
      await useLedger.flush();
      await tokenBudgets.flush();
    },
  };
};
