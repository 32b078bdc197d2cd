import { join } from "node:path";
import { CopilotClient, type CopilotClientOptions, RuntimeConnection } from "@github/copilot-sdk";
import { type ScriptedModel, startScriptedModel } from "../../demo/scripted-model.ts";
import {
  type Allow,
  allowEverything,
  type Config,
  type Policy,
  type StaticKey,
} from "../../src/config/config.ts";
import type { Clock } from "../../src/kernel/clock.ts";
import type { Isolation } from "../../src/kernel/isolation.ts";
import { Secret } from "../../src/kernel/secret.ts";
import { type SquadronNode, startNode } from "../../src/node.ts";
import type { Log } from "../../src/telemetry/log.ts";
import { tempDir } from "./temp.ts";

export const modelKey = "sk-provider-key-that-nobody-may-see-0123456789";

/** Users of one tenant, one of another, and an admin. Keys are `key-<user>`. */
export const users = {
  alice: { tenant: "acme", user: "alice", key: "key-alice" },
  bob: { tenant: "acme", user: "bob", key: "key-bob" },
  dave: { tenant: "acme", user: "dave", key: "key-dave" },
  erin: { tenant: "acme", user: "erin", key: "key-erin" },
  carol: { tenant: "globex", user: "carol", key: "key-carol" },
  admin: { tenant: "ops", user: "admin", key: "key-admin" },
} as const;
export type UserName = keyof typeof users;

export interface TestNodeOptions {
  readonly isolation?: Isolation;
  readonly allow?: Partial<Allow>;
  readonly limits?: Partial<Policy["limits"]>;
  readonly policy?: Partial<Policy>;
  /** What differs for a tenant. */
  readonly tenants?: Readonly<Record<string, Partial<Policy>>>;
  /** No provider of the policy: sessions need a GitHub token or a provider of their own. */
  readonly withoutProvider?: boolean;
  readonly keys?: readonly StaticKey[];
  readonly runtimes?: Partial<Config["runtimes"]>;
  readonly drainTimeoutMs?: number;
  readonly leaseTtlMs?: number;
  /** The directory of another node whose store this one shares. */
  readonly storeOf?: string;
  /** An earlier node's directory, to start on its state again. */
  readonly directory?: string;
  readonly model?: ScriptedModel;
  readonly clock?: Clock;
  readonly log?: Log;
}

export interface TestNode extends AsyncDisposable {
  readonly node: SquadronNode;
  readonly model: ScriptedModel;
  readonly directory: string;
  readonly baseUrl: string;
  /** An unmodified SDK client of this user. */
  client(user: UserName, options?: Partial<CopilotClientOptions>): CopilotClient;
  /** Plain HTTP as this user. */
  fetch(user: UserName, path: string, init?: RequestInit): Promise<Response>;
  stop(): Promise<void>;
}

const allowOfDefaults: Allow = {
  all: false,
  models: ["*"],
  provider: false,
  tools: ["custom:*"],
  mcp: { http: false, stdio: false },
  workingDirectories: [],
};

const policyOf = (modelUrl: string, options: TestNodeOptions): Policy => ({
  isolation: options.isolation ?? "user",
  trusted: false,
  onBusy: "enqueue",
  model: "scripted-1",
  ...(options.withoutProvider !== true && {
    provider: { type: "openai", baseUrl: modelUrl, apiKey: new Secret(modelKey), headers: {} },
  }),
  sessions: {
    ttlMs: 30 * 86_400_000,
    hibernateAfterMs: 300_000,
    infinite: { enabled: true, backgroundCompactionThreshold: 0.8 },
  },
  limits: {
    turnTimeoutMs: 1_800_000,
    queueLength: 100,
    callbackTimeoutMs: 120_000,
    maxSizeBytes: 256 * 2 ** 20,
    maxFiles: 50_000,
    ...options.limits,
  },
  allow: {
    ...(options.allow?.all === true ? allowEverything : allowOfDefaults),
    ...options.allow,
  },
  httpSessions: { tools: [], mcpServers: {} },
  ...options.policy,
});

export const testConfig = (directory: string, modelUrl: string, options: TestNodeOptions = {}): Config => ({
  node: { id: "test", drainTimeoutMs: options.drainTimeoutMs ?? 60_000 },
  sdk: { host: "127.0.0.1", port: 0, maxFrameBytes: 64 * 1024 * 1024 },
  http: { host: "127.0.0.1", port: 0, idempotencyTtlMs: 86_400_000 },
  auth: {
    keys: [
      ...Object.values(users).map(({ tenant, user, key }) => ({
        key: new Secret(key),
        tenant,
        user,
        roles: user === "admin" ? (["user", "admin"] as const) : (["user"] as const),
      })),
      ...(options.keys ?? []),
    ],
  },
  defaults: policyOf(modelUrl, options),
  tenants: Object.fromEntries(
    Object.entries(options.tenants ?? {}).map(([tenant, own]) => [
      tenant,
      { ...policyOf(modelUrl, options), ...own },
    ]),
  ),
  runtimes: {
    command: "auto",
    args: [],
    env: {},
    workingDirectory: "auto",
    startTimeoutMs: 20_000,
    max: 64,
    maxSessions: 1_000,
    spares: 0,
    probeEveryMs: 5_000,
    // Nothing is recycled unless a test says so.
    recycle: {
      turns: Number.MAX_SAFE_INTEGER,
      memoryBytes: Number.MAX_SAFE_INTEGER,
      ageMs: Number.MAX_SAFE_INTEGER,
    },
    sandbox: { kind: "none", network: "host", memoryBytes: 2 * 2 ** 30, processes: 128, cpus: 1 },
    ...options.runtimes,
  },
  models: { connectTimeoutMs: 5_000, idleTimeoutMs: 60_000, retries: 2, caFiles: [] },
  state: { path: join(directory, "state") },
  store: { url: `sqlite:${join(options.storeOf ?? directory, "squadron.db")}` },
  coordination: { leaseTtlMs: options.leaseTtlMs ?? 15_000 },
  telemetry: { logLevel: (process.env.TEST_LOG ?? "silent") as "silent" },
});

/** The whole node, on own ports and an own directory, with a scripted model behind it. */
export const startTestNode = async (options: TestNodeOptions = {}): Promise<TestNode> => {
  const owned = options.directory === undefined ? await tempDir("node") : undefined;
  const directory = options.directory ?? owned?.path ?? "";
  const model = options.model ?? (await startScriptedModel({ apiKey: modelKey }));
  const node = await startNode(testConfig(directory, model.url, options), {
    ...(options.clock !== undefined && { clock: options.clock }),
    ...(options.log !== undefined && { log: options.log }),
  });
  const clients: CopilotClient[] = [];
  const baseUrl = `http://127.0.0.1:${node.http.port}`;
  const stop = async (): Promise<void> => {
    await Promise.allSettled(clients.map((client) => client.forceStop()));
    await node.close();
    if (options.model === undefined) await model.close();
    await owned?.[Symbol.asyncDispose]();
  };
  return {
    node,
    model,
    directory,
    baseUrl,
    client(user, clientOptions) {
      const client = new CopilotClient({
        ...clientOptions,
        connection: RuntimeConnection.forUri(`127.0.0.1:${node.sdk.port}`, {
          connectionToken: users[user].key,
        }),
      });
      clients.push(client);
      return client;
    },
    fetch: (user, path, init) =>
      fetch(`${baseUrl}${path}`, {
        ...init,
        headers: {
          authorization: `Bearer ${users[user].key}`,
          "content-type": "application/json",
          ...init?.headers,
        },
      }),
    stop,
    [Symbol.asyncDispose]: stop,
  };
};
