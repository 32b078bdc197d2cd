import { isIP } from "node:net";
import type { Json, JsonObject } from "../kernel/json.ts";
import { Secret } from "../kernel/secret.ts";
import { formatDuration, formatSize } from "../kernel/units.ts";
import type { Config, Policy } from "./config.ts";

/** A copy as plain data, each `Secret` masked. */
const plain = (value: unknown): Json => {
  if (value instanceof Secret) return value.toJSON();
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
  }
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? value : null;
};

const describePolicy = ({ sessions, limits, ...rest }: Policy): Record<string, unknown> => ({
  ...rest,
  sessions: { hibernateAfter: formatDuration(sessions.hibernateAfterMs), infinite: sessions.infinite },
  limits: {
    turnTimeout: formatDuration(limits.turnTimeoutMs),
    queueLength: limits.queueLength,
    callbackTimeout: formatDuration(limits.callbackTimeoutMs),
  },
});

/** The effective configuration in the shape of the file, defaults written out, paths absolute, secrets masked. */
export const describeConfig = (config: Config): JsonObject => {
  const { sdk, runtimes, models } = config;
  const described: Record<keyof Config, unknown> = {
    node: config.node,
    sdk: { host: sdk.host, port: sdk.port, maxFrame: formatSize(sdk.maxFrameBytes) },
    http: config.http,
    auth: config.auth,
    defaults: describePolicy(config.defaults),
    tenants: Object.fromEntries(
      Object.entries(config.tenants).map(([tenant, policy]) => [tenant, describePolicy(policy)]),
    ),
    runtimes: {
      command: runtimes.command,
      args: runtimes.args,
      env: runtimes.env,
      workingDirectory: runtimes.workingDirectory,
      startTimeout: formatDuration(runtimes.startTimeoutMs),
      max: runtimes.max,
    },
    models: {
      connectTimeout: formatDuration(models.connectTimeoutMs),
      idleTimeout: formatDuration(models.idleTimeoutMs),
      retries: models.retries,
      caFiles: models.caFiles,
    },
    state: config.state,
    store: config.store,
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
