import type { Config } from "./config/config.ts";
import { createCoordination } from "./coordination/coordination.ts";
import { createFleet, type Fleet } from "./fleet/fleet.ts";
import { bundledRuntimeVersion } from "./fleet/runtime-version.ts";
import { requireSandbox } from "./fleet/sandbox/host.ts";
import { createExpiry } from "./gateway/expiry.ts";
import { createGateway, type Gateway } from "./gateway/gateway.ts";
import { type HttpServer, openHttp } from "./http/http.ts";
import { createIdentity, ensureFirstAdminKey, type Identity } from "./identity/identity.ts";
import { type Clock, systemClock } from "./kernel/clock.ts";
import { newUuid } from "./kernel/ids.ts";
import { createParts, type Parts } from "./kernel/parts.ts";
import type { Secret } from "./kernel/secret.ts";
import { createModelCatalog } from "./models/catalog.ts";
import { githubRoute } from "./models/grant.ts";
import { createModelGateway } from "./models/model-gateway.ts";
import { openSdkPort, type SdkPort } from "./sdk-port/sdk-port.ts";
import { fileBoundsOf } from "./sessions/file-bounds.ts";
import { takeFormerUnits } from "./sessions/former-units.ts";
import type { Janitor } from "./sessions/janitor.ts";
import { createUnitStates } from "./sessions/unit-state.ts";
import { openStore } from "./store/open-store.ts";
import { lockState } from "./store/state-lock.ts";
import type { Store } from "./store/store.ts";
import { createLog, type Log } from "./telemetry/log.ts";
import { createMetrics, type Metrics } from "./telemetry/metrics.ts";
import { createWebhooks } from "./webhooks/webhooks.ts";

/** GitHub's model service, where the runtimes of sessions with a GitHub token send their model calls. */
const githubModels = [
  "https://api.githubcopilot.com",
  "https://api.individual.githubcopilot.com",
  "https://api.business.githubcopilot.com",
  "https://api.enterprise.githubcopilot.com",
];

/** A running node: its doors, and what the command line and the embedding API need of its inside. */
export interface SquadronNode {
  readonly config: Config;
  readonly sdk: Pick<SdkPort, "host" | "port">;
  readonly http: Pick<HttpServer, "host" | "port">;
  readonly gateway: Gateway;
  readonly identity: Identity;
  readonly store: Store;
  readonly fleet: Fleet;
  readonly janitor: Janitor;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Present when the node had no key at all and made its first admin key; it is told this once. */
  readonly firstAdminKey: Secret | undefined;
  /** Resolves when the node has closed, for whatever reason. */
  readonly closed: Promise<void>;
  /** Takes nothing new, lets running turns end within the configuration's `drainTimeout`, then closes. */
  drain(): Promise<void>;
  /** Closes the doors, ends every runtime, closes the store. */
  close(): Promise<void>;
}

/** Builds a node from its configuration, from the ground up, and starts it. What was started is closed again if a later part fails. */
export const startNode = async (
  config: Config,
  given: { readonly clock?: Clock; readonly log?: Log; readonly environment?: NodeJS.ProcessEnv } = {},
): Promise<SquadronNode> => {
  const clock = given.clock ?? systemClock;
  const log = given.log ?? createLog({ level: config.telemetry.logLevel });
  const environment = given.environment ?? process.env;
  const parts = createParts();
  try {
    return await build(config, { clock, log, environment }, parts);
  } catch (error) {
    await parts.close();
    throw error;
  }
};

const build = async (
  config: Config,
  {
    clock,
    log,
    environment,
  }: { readonly clock: Clock; readonly log: Log; readonly environment: NodeJS.ProcessEnv },
  parts: Parts,
): Promise<SquadronNode> => {
  // First, hence released last: the next node may use the files only when our runtimes and the store are closed.
  const lock = await lockState(config.state.path);
  parts.defer(() => lock.release());
  await requireSandbox(config.runtimes.sandbox, config.state.path);
  const metrics = createMetrics();
  const holder = newUuid();
  const store = await openStore(config.store.url, { clock, holder });
  parts.defer(() => store.close());
  const { leaseTtlMs } = config.coordination;
  await store.leases.enter({ holder, directory: lock.directory, until: clock.now() + leaseTtlMs });
  const coordination = createCoordination({
    table: store.leases,
    holder,
    ttlMs: leaseTtlMs,
    clock,
    onLost(name) {
      metrics.leaseLost();
      log.warn({ name }, "this node has lost what it held: another one may have it");
    },
    onFailure: (error) => log.warn({ error }, "the node could not show that it lives"),
  });
  parts.defer(() => coordination.close());
  const interrupted = await store.turns.settleAll(clock.now());
  if (interrupted > 0) log.warn({ interrupted }, "turns of an earlier node were interrupted by its end");
  const identity = createIdentity({ keys: config.auth.keys, store, clock });
  const firstAdminKey = config.auth.keys.length === 0 ? await ensureFirstAdminKey(store, clock) : undefined;

  const models = createModelGateway({
    config: config.models,
    clock,
    log,
    environment,
    grant: (sessionId) => gateway.grant(sessionId),
    onUsage: (sessionId, usage) => gateway.countTokens(sessionId, usage),
  });
  parts.defer(() => models.close());
  const catalog = createModelCatalog({ config: config.models, clock, log, environment });
  parts.defer(() => catalog.close());
  const webhooks = createWebhooks({ config: config.models, clock, log, environment });
  parts.defer(() => webhooks.close());

  await takeFormerUnits({
    store,
    statePath: config.state.path,
    clock,
    log,
    bounds: fileBoundsOf(config.defaults),
  });
  const units = createUnitStates({
    store,
    holdings: coordination.holdings,
    log,
    bounds: fileBoundsOf(config.defaults),
  });
  const fleet = createFleet({
    config: config.runtimes,
    statePath: config.state.path,
    clock,
    log,
    metrics,
    serve: (runtime) => gateway.serve(runtime),
    populate: (runtime) => units.populate(runtime),
    onClosed: (runtime) => gateway.runtimeClosed(runtime),
    onWorn: (runtime) => gateway.recycle(runtime),
  });
  parts.defer(() => fleet.close());

  const standIn = config.runtimes.env.COPILOT_API_URL;
  const gateway: Gateway = createGateway({
    config,
    clock,
    store,
    units,
    holdings: coordination.holdings,
    fleet,
    log,
    metrics,
    models,
    webhooks,
    modelsOf: ({ policy }) => catalog.list(policy),
    githubRoutes: (standIn === undefined ? githubModels : [standIn.reveal()]).map(githubRoute),
    runtimeVersion: await bundledRuntimeVersion(),
  });
  parts.defer(() => gateway.close());
  metrics.observeSessions(async () => {
    const live = gateway.hosts.filter(({ life }) => life === "live").map(({ unit }) => unit.isolation);
    const stored = await store.sessions.counts();
    return [
      ...live.map((isolation) => ({ state: "live" as const, isolation, count: 1 })),
      ...stored.map(({ isolation, sessions }) => ({
        state: "hibernated" as const,
        isolation,
        count: sessions,
      })),
      ...live.map((isolation) => ({ state: "hibernated" as const, isolation, count: -1 })),
    ];
  });
  await gateway.removeLeftovers();
  const janitor = createExpiry(config, gateway.services);
  parts.defer(() => janitor.close());

  const sdk = await openSdkPort({ ...config.sdk, gateway, identity, clock, log });
  parts.defer(() => sdk.close());
  const { promise: closed, resolve: resolveClosed } = Promise.withResolvers<void>();
  const close = (): Promise<void> => parts.close().finally(resolveClosed);
  const drain = async (): Promise<void> => {
    log.info({ withinMs: config.node.drainTimeoutMs }, "draining");
    await gateway.drain(config.node.drainTimeoutMs);
    await sdk.leave();
    await close();
  };
  const http = await openHttp({
    ...config.http,
    gateway,
    identity,
    store,
    fleet,
    janitor,
    metrics,
    clock,
    log,
    drainTimeoutMs: config.node.drainTimeoutMs,
    drain: () => {
      drain().catch((error) => log.error({ error }, "not everything could be closed"));
    },
  });
  parts.defer(() => http.close());
  parts.defer(() => gateway.stopTurns());
  gateway.resumeQueues(leaseTtlMs);

  log.info({ node: config.node.id, sdk: sdk.port, http: http.port }, "squadron is up");
  return {
    config,
    sdk,
    http,
    gateway,
    identity,
    store,
    fleet,
    janitor,
    metrics,
    log,
    firstAdminKey,
    closed,
    drain,
    close,
  };
};
