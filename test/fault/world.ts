import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { unwrap } from "../../demo/script.ts";
import { type ScriptedModel, startScriptedModel } from "../../demo/scripted-model.ts";
import { type CliProcess, type Ended, startCli } from "../integration/cli-process.ts";
import { tempDir } from "../support/temp.ts";
import { within } from "../support/wait.ts";
import { markerIn } from "./talk.ts";

const modelKey = "sk-provider-key-of-the-fault-tests";

export const isolations = ["shared", "tenant", "user", "session"] as const;
export type IsolationName = (typeof isolations)[number];

export interface User {
  readonly tenant: IsolationName;
  readonly user: string;
  readonly key: string;
}

/** Two users in each of four tenants; a tenant is named for its isolation. */
export const users: readonly User[] = ["ann", "ben"].flatMap((user) =>
  isolations.map((tenant) => ({ tenant, user, key: `key-${tenant}-${user}` })),
);
/** Further users of a tenant, who take part in sessions of others. */
export const guestsOf = (tenant: IsolationName, number: number): readonly User[] =>
  Array.from({ length: number }, (_, index) => {
    const user = `guest${index + 1}`;
    return { tenant, user, key: `key-${tenant}-${user}` };
  });
const adminKey = "key-of-the-admin";

export interface RunningRuntime {
  readonly pid: number;
  readonly unitKey: string;
  readonly memoryBytes: number;
}

export interface Endpoints {
  readonly sdkPort: number;
  readonly http: string;
}

/** A node as a process of its own, on endpoints that stay the same however often it is started. */
export interface World extends AsyncDisposable {
  readonly model: ScriptedModel;
  /** How often the model was asked to answer a message, by its marker: never twice, whatever was killed. */
  readonly asked: ReadonlyMap<string, number>;
  readonly statePath: string;
  readonly databasePath: string;
  readonly endpoints: Endpoints;
  /** Its process, or undefined when none runs. */
  readonly node: CliProcess | undefined;
  start(options?: StartOptions): Promise<void>;
  /** Sends the signal and waits for the end. */
  end(signal: NodeJS.Signals): Promise<Ended>;
  /** Those that are ready, by the admin API. */
  runtimes(): Promise<readonly RunningRuntime[]>;
  now(): number;
}

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly nodeArguments?: readonly string[];
}

export interface WorldOptions extends StartOptions {
  /** Sections of the configuration file that differ from the defaults. */
  readonly config?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly guests?: readonly User[];
  /** Where the database lies; in the world's own directory unless told. */
  readonly databasePath?: string;
}

const configFile = (
  modelUrl: string,
  databasePath: string,
  ports: { sdk: number; http: number },
  options: WorldOptions,
) => {
  const { node, runtimes, coordination, ...policy } = options.config ?? {};
  return {
    node: { drainTimeout: "10s", ...node },
    sdk: { port: ports.sdk },
    http: { port: ports.http },
    auth: {
      keys: [
        ...[...users, ...(options.guests ?? [])].map(({ tenant, user, key }) => ({ key, tenant, user })),
        { key: adminKey, tenant: "ops", user: "admin", roles: ["admin"] },
      ],
    },
    defaults: {
      model: "scripted-1",
      provider: { type: "openai", baseUrl: modelUrl, apiKey: modelKey },
      ...policy.defaults,
    },
    tenants: Object.fromEntries(isolations.map((isolation) => [isolation, { isolation }])),
    runtimes: { max: 200, maxSessions: 1_000, spares: 1, ...runtimes },
    state: { path: "./state" },
    store: { url: `sqlite:${databasePath}` },
    ...(coordination !== undefined && { coordination }),
    telemetry: { logLevel: "warn" },
  };
};

/** Starts a node with a scripted model behind it. */
export const createWorld = async (options: WorldOptions = {}): Promise<World> => {
  const directory = await tempDir("fault");
  const databasePath = options.databasePath ?? join(directory.path, "squadron.db");
  const asked = new Map<string, number>();
  const model = await startScriptedModel({
    apiKey: modelKey,
    keepRequests: 1,
    onConversation({ messages }) {
      const marker = markerIn(unwrap(messages.findLast(({ role }) => role === "user")?.text ?? ""));
      asked.set(marker, (asked.get(marker) ?? 0) + 1);
    },
  });
  let node: CliProcess | undefined;
  let endpoints: Endpoints | undefined;

  const write = (ports: { sdk: number; http: number }): Promise<void> =>
    writeFile(
      join(directory.path, "squadron.yaml"),
      JSON.stringify(configFile(model.url, databasePath, ports, options)),
    );

  const end = async (signal: NodeJS.Signals): Promise<Ended> => {
    if (node === undefined) throw new Error("No node runs.");
    const { ended } = node;
    if (signal === "SIGKILL") node.kill("SIGKILL");
    else node.kill(signal);
    const result = await within(ended, { what: `the end of the node by ${signal}`, deadlineMs: 60_000 });
    node = undefined;
    return result;
  };

  const start = async ({ env = options.env, nodeArguments = options.nodeArguments }: StartOptions = {}) => {
    const cli = startCli(["up", "--json"], {
      cwd: directory.path,
      ...(env !== undefined && { env }),
      ...(nodeArguments !== undefined && { nodeArguments }),
    });
    node = cli;
    await cli.printed(/^}$/m);
    const { sdk, http } = JSON.parse(cli.stdout) as { sdk: string; http: string };
    endpoints ??= { sdkPort: Number(sdk.split(":").at(-1)), http };
    await write({ sdk: endpoints.sdkPort, http: Number(new URL(http).port) });
  };

  const dispose = async (): Promise<void> => {
    await node?.[Symbol.asyncDispose]();
    await model.close();
    await directory.remove();
  };

  const world: World = {
    model,
    asked,
    statePath: join(directory.path, "state"),
    databasePath,
    get endpoints() {
      if (endpoints === undefined) throw new Error("The node was never started.");
      return endpoints;
    },
    get node() {
      return node;
    },
    start,
    end,
    async runtimes() {
      const response = await fetch(`${world.endpoints.http}/v1/admin/runtimes`, {
        headers: { authorization: `Bearer ${adminKey}` },
      });
      if (!response.ok) throw new Error(`The node lists no runtimes: ${await response.text()}`);
      const { runtimes } = (await response.json()) as {
        runtimes: { state: string; pid?: number; unitKey?: string; memoryBytes?: number }[];
      };
      return runtimes.flatMap(({ state, pid, unitKey = "", memoryBytes = 0 }) =>
        state === "ready" && pid !== undefined ? [{ pid, unitKey, memoryBytes }] : [],
      );
    },
    now: () => performance.now(),
    [Symbol.asyncDispose]: dispose,
  };
  try {
    await write({ sdk: 0, http: 0 });
    await start();
  } catch (error) {
    await dispose();
    throw error;
  }
  return world;
};

/** Removes the private disks of all runtimes, as a host that lost its local disk would. */
export const removeBoxes = async (world: World): Promise<void> => {
  await rm(join(world.statePath, "boxes"), { recursive: true, force: true });
};
