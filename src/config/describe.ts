import { isIP } from "node:net";
import type { Json, JsonObject } from "../kernel/json.ts";
import { Secret } from "../kernel/secret.ts";
import { formatDuration, formatSize } from "../kernel/units.ts";
import type { Config, Policy, RuntimesConfig } from "./config.ts";
import { describeHttpSessions } from "./http-sessions.ts";

/** A copy as plain data, each `Secret` masked. */
const plain = (value: unknown): Json => {
  if (value instanceof Secret) return value.toJSON();
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
  }
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? value : null;
};

const describePolicy = ({
  sessions,
  limits,
  allow,
  httpSessions,
  ...rest
}: Policy): Record<string, unknown> => {
  const { turnTimeoutMs, callbackTimeoutMs, maxSizeBytes, ...counts } = limits;
  return {
    ...rest,
    sessions: {
      ttl: formatDuration(sessions.ttlMs),
      hibernateAfter: formatDuration(sessions.hibernateAfterMs),
      infinite: sessions.infinite,
    },
    limits: {
      turnTimeout: formatDuration(turnTimeoutMs),
      callbackTimeout: formatDuration(callbackTimeoutMs),
      maxSize: formatSize(maxSizeBytes),
      ...counts,
    },
    allow: allow.all ? "all" : allow,
    httpSessions: describeHttpSessions(httpSessions),
  };
};

const describeRuntimes = ({ recycle, sandbox, ...runtimes }: RuntimesConfig): Record<string, unknown> => ({
  command: runtimes.command,
  args: runtimes.args,
  env: runtimes.env,
  workingDirectory: runtimes.workingDirectory,
  startTimeout: formatDuration(runtimes.startTimeoutMs),
  max: runtimes.max,
  maxSessions: runtimes.maxSessions,
  ...(runtimes.memoryBytes !== undefined && { memory: formatSize(runtimes.memoryBytes) }),
  spares: runtimes.spares,
  probeEvery: formatDuration(runtimes.probeEveryMs),
  recycle: {
    turns: recycle.turns,
    memory: formatSize(recycle.memoryBytes),
    age: formatDuration(recycle.ageMs),
  },
  sandbox: {
    kind: sandbox.kind,
    network: sandbox.network,
    memory: formatSize(sandbox.memoryBytes),
    processes: sandbox.processes,
    cpus: sandbox.cpus,
  },
});

/** The effective configuration in the shape of the file, defaults written out, paths absolute, secrets masked. */
export const describeConfig = (config: Config): JsonObject => {
  const { sdk, models } = config;
  const described: Record<keyof Config, unknown> = {
    node: { id: config.node.id, drainTimeout: formatDuration(config.node.drainTimeoutMs) },
    sdk: { host: sdk.host, port: sdk.port, maxFrame: formatSize(sdk.maxFrameBytes) },
    http: {
      host: config.http.host,
      port: config.http.port,
      idempotencyTtl: formatDuration(config.http.idempotencyTtlMs),
    },
    auth: config.auth,
    defaults: describePolicy(config.defaults),
    tenants: Object.fromEntries(
      Object.entries(config.tenants).map(([tenant, policy]) => [tenant, describePolicy(policy)]),
    ),
    runtimes: describeRuntimes(config.runtimes),
    models: {
      connectTimeout: formatDuration(models.connectTimeoutMs),
      idleTimeout: formatDuration(models.idleTimeoutMs),
      retries: models.retries,
      caFiles: models.caFiles,
    },
    state: config.state,
    store: config.store,
    coordination: { leaseTtl: formatDuration(config.coordination.leaseTtlMs) },
    telemetry: config.telemetry,
  };
  return Object.fromEntries(Object.entries(described).map(([key, value]) => [key, plain(value)]));
};

const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));

/** What is allowed and yet worth a warning when the node starts. */
export const configNotes = (config: Config): readonly string[] =>
  (["sdk", "http"] as const)
    .filter((door) => !isLoopback(config[door].host))
    .map(
      (door) =>
        `${door}.host is ${config[door].host}: others can reach this port, and keys and messages cross the network in clear text unless something in front encrypts them.`,
    );
