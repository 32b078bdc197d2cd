import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { startScriptedModel } from "../../demo/scripted-model.ts";
import { loadConfig } from "../config/load.ts";
import { httpUrl, sdkEndpoint } from "../endpoints.ts";
import { startNode } from "../node.ts";
import { type Demo, demoPage } from "./demo-page.ts";
import { isFree } from "./free-port.ts";
import { stopRequested } from "./signals.ts";
import { note, print, printJson } from "./terminal.ts";
import { standardErrorLog } from "./up.ts";

const host = "127.0.0.1";
const usualPorts = { sdk: 4321, http: 8080 };

const newKey = (user: string): string => `demo-${user}-${randomBytes(12).toString("hex")}`;

const demoUsers = () => [
  { tenant: "acme", user: "alice", key: newKey("alice"), roles: ["user"] },
  { tenant: "globex", user: "bob", key: newKey("bob"), roles: ["user"] },
  { tenant: "ops", user: "operator", key: newKey("operator"), roles: ["admin"] },
];

/** The port if it is free, else any. */
const portOr0 = async (port: number): Promise<number> => ((await isFree(host, port)) ? port : 0);

/** A resource with what ends it; `await using` calls that when the demo ends, however it ends. */
const ending = <Resource>(resource: Resource, end: () => Promise<void>) => ({
  resource,
  [Symbol.asyncDispose]: end,
});

const startModel = async (apiKey: string) => {
  const model = await startScriptedModel({ apiKey });
  return ending(model, model.close);
};

const startDemoNode = async (directory: string, users: Demo["users"], provider: object) => {
  // What the environment says is for real nodes, and its proxy is not the way to our own loopback.
  const config = await loadConfig({
    env: {},
    overrides: {
      sdk: { host, port: await portOr0(usualPorts.sdk) },
      http: { host, port: await portOr0(usualPorts.http) },
      auth: { keys: users },
      defaults: { isolation: "user", model: "scripted-1", provider },
      state: { path: join(directory, "state") },
      store: { url: `sqlite:${join(directory, "squadron.db")}` },
    },
  });
  const node = await startNode(config, { log: standardErrorLog("warn"), environment: {} });
  return ending(node, node.close);
};

const demo = async ({ json }: { json?: true }): Promise<void> => {
  const directory = await mkdtemp(join(tmpdir(), "squadron-demo-"));
  const stopped = stopRequested(() => rmSync(directory, { recursive: true, force: true }));
  // A runtime that is just being killed may still create a file: hence the retries.
  await using _files = ending(directory, () =>
    rm(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 }),
  );
  const users = demoUsers();
  const modelKey = randomBytes(12).toString("hex");
  await using model = await startModel(modelKey);
  const { url } = model.resource;
  await using node = await startDemoNode(directory, users, {
    type: "openai",
    baseUrl: url,
    apiKey: modelKey,
  });
  const running: Demo = {
    http: httpUrl(node.resource),
    sdk: sdkEndpoint(node.resource),
    model: url,
    users,
  };
  if (json) printJson(running);
  else print(demoPage(running, process.env));
  await stopped;
  note("\nEnding the demo, nothing of it stays behind …");
};

export const demoCommand = (): Command =>
  new Command("demo")
    .description("run a whole node with two users and a scripted model (not an AI), and leave nothing behind")
    .option("--json", "print endpoints and keys as JSON")
    .action(demo);
