import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { resolve } from "node:path";
import { Secret } from "../kernel/secret.ts";
import { type Allow, allowEverything, type Config, type Policy } from "./config.ts";
import { toHttpSessions } from "./http-sessions.ts";
import type { File, FilePolicy } from "./schema.ts";

const toAllow = (allow: FilePolicy["allow"], base: string): Allow =>
  allow === "all"
    ? allowEverything
    : {
        ...allow,
        all: false,
        workingDirectories: allow.workingDirectories.map((path) => resolve(base, path)),
      };

const toPolicy = (policy: FilePolicy, base: string): Policy => {
  const { sessions, limits, allow, httpSessions, ...rest } = policy;
  const { turnTimeout, callbackTimeout, maxSize, ...counts } = limits;
  return {
    ...rest,
    sessions: {
      ttlMs: sessions.ttl,
      hibernateAfterMs: sessions.hibernateAfter,
      infinite: sessions.infinite,
    },
    limits: {
      ...counts,
      turnTimeoutMs: turnTimeout,
      callbackTimeoutMs: callbackTimeout,
      maxSizeBytes: maxSize,
    },
    allow: toAllow(allow, base),
    httpSessions: toHttpSessions(httpSessions),
  };
};

/** A program is a path when it has a slash in it, and looked for in PATH otherwise. */
const program = (command: string, base: string): string =>
  command.includes("/") ? resolve(base, command) : command;

const nodeId = (id: string): string =>
  id === "auto" ? `${hostname()}-${randomBytes(4).toString("hex")}` : id;

/** The checked file as the rest of the code sees it: paths absolute, units in the names. */
export const buildConfig = (file: File, tenants: ReadonlyMap<string, FilePolicy>, base: string): Config => {
  const { runtimes, models, sdk, http } = file;
  const { recycle, sandbox } = runtimes;
  return {
    node: { id: nodeId(file.node.id), drainTimeoutMs: file.node.drainTimeout },
    sdk: { host: sdk.host, port: sdk.port, maxFrameBytes: sdk.maxFrame },
    http: { host: http.host, port: http.port, idempotencyTtlMs: http.idempotencyTtl },
    auth: file.auth,
    defaults: toPolicy(file.defaults, base),
    tenants: Object.fromEntries([...tenants].map(([tenant, policy]) => [tenant, toPolicy(policy, base)])),
    runtimes: {
      command: program(runtimes.command, base),
      args: runtimes.args,
      env: Object.fromEntries(Object.entries(runtimes.env).map(([name, value]) => [name, new Secret(value)])),
      workingDirectory:
        runtimes.workingDirectory === "auto" ? "auto" : resolve(base, runtimes.workingDirectory),
      startTimeoutMs: runtimes.startTimeout,
      max: runtimes.max,
      maxSessions: runtimes.maxSessions,
      ...(runtimes.memory !== undefined && { memoryBytes: runtimes.memory }),
      spares: runtimes.spares,
      probeEveryMs: runtimes.probeEvery,
      recycle: { turns: recycle.turns, memoryBytes: recycle.memory, ageMs: recycle.age },
      sandbox: {
        kind: sandbox.kind,
        network: sandbox.network,
        memoryBytes: sandbox.memory,
        processes: sandbox.processes,
        cpus: sandbox.cpus,
      },
    },
    models: {
      connectTimeoutMs: models.connectTimeout,
      idleTimeoutMs: models.idleTimeout,
      retries: models.retries,
      caFiles: models.caFiles.map((path) => resolve(base, path)),
    },
    state: { path: resolve(base, file.state.path) },
    store: { url: `sqlite:${resolve(base, file.store.url.slice("sqlite:".length))}` },
    coordination: { leaseTtlMs: file.coordination.leaseTtl },
    telemetry: file.telemetry,
  };
};
