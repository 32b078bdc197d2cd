import { createServer } from "node:net";
import { type CopilotClient, RuntimeConnection, CopilotClient as SdkClient } from "@github/copilot-sdk";
import { type ScriptedModel, startScriptedModel } from "../../demo/scripted-model.ts";
import { isAlive } from "../integration/fixtures/fleet.ts";
import { type BareRuntime, startBareRuntime } from "../support/bare-runtime.ts";
import type { GuideSessionConfig } from "./guide-way.ts";

const modelKey = "sk-guide";
/** Below the range from which the system gives ports to others, so that nobody takes one between look and use. */
const portRange = { from: 20_000, to: 30_000 };

const canListen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });

/** The first of `count` ports in a row on which nothing listens. */
export const freePorts = async (count: number): Promise<number> => {
  let first = portRange.from + Math.floor(Math.random() * (portRange.to - portRange.from));
  for (let tries = 0; tries < 1_000; tries++, first += count) {
    if (first + count > portRange.to) first = portRange.from;
    const free = await Promise.all(Array.from({ length: count }, (_, index) => canListen(first + index)));
    if (free.every(Boolean)) return first;
  }
  throw new Error(`There are no ${count} free ports in a row.`);
};

/** What the guide leaves to its reader: a machine with CLI servers, clients and a model. */
export interface GuideMachine extends AsyncDisposable {
  /** The guide's `spawnCLI`: a CLI of its own on this port. Rejects when the CLI ends before it listens. */
  readonly spawnCLI: (port: number) => Promise<void>;
  /** A CLI on a free port, and the address for `newClient`; `home`: on another one's state directory. */
  startCLI(home?: string): Promise<BareRuntime & { readonly cliUrl: string }>;
  /** The guide's `new CopilotClient({ cliUrl })`. */
  readonly newClient: (cliUrl: string) => CopilotClient;
  /** Every CLI that was started and whose process lives, in the order of their start. */
  running(): readonly BareRuntime[];
  /** What a session needs on this machine: the model is our scripted one. */
  readonly sessionConfig: GuideSessionConfig;
  readonly model: ScriptedModel;
}

export const openGuideMachine = async (): Promise<GuideMachine> => {
  const model = await startScriptedModel({ apiKey: modelKey });
  const started: BareRuntime[] = [];
  const clients: CopilotClient[] = [];
  const start = async (args: readonly string[], home?: string): Promise<BareRuntime> => {
    const cli = await startBareRuntime({ args, ...(home !== undefined && { env: { COPILOT_HOME: home } }) });
    started.push(cli);
    return cli;
  };
  return {
    model,
    sessionConfig: {
      model: "scripted-1",
      provider: { type: "openai", baseUrl: model.url, apiKey: modelKey },
    },
    spawnCLI: async (port) => {
      await start(["--port", String(port)]);
    },
    async startCLI(home) {
      const cli = await start([], home);
      return { ...cli, cliUrl: `127.0.0.1:${cli.port}` };
    },
    newClient(cliUrl) {
      const token = started.findLast((cli) => cliUrl.endsWith(`:${cli.port}`))?.token;
      const client = new SdkClient({
        connection: RuntimeConnection.forUri(cliUrl, token === undefined ? {} : { connectionToken: token }),
      });
      clients.push(client);
      return client;
    },
    running: () => started.filter((cli) => isAlive(cli.pid)),
    async [Symbol.asyncDispose]() {
      await Promise.all(clients.map((client) => client.forceStop()));
      await Promise.all(started.map((cli) => cli.stop()));
      await model.close();
    },
  };
};
