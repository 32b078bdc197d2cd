import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { startInvitations } from "../../demo/invitations.ts";
import { cues } from "../../demo/scene.ts";
import { startScriptedModel } from "../../demo/scripted-model.ts";
import { loadConfig } from "../config/load.ts";
import { httpUrl, sdkEndpoint } from "../endpoints.ts";
import { createParts } from "../kernel/parts.ts";
import { startNode } from "../node.ts";
import { type Demo, demoPage } from "./demo-page.ts";
import { makeDemoRoom } from "./demo-room.ts";
import { isFree } from "./free-port.ts";
import { stopRequested } from "./signals.ts";
import { note, print, printJson } from "./terminal.ts";
import { standardErrorLog } from "./up.ts";

const host = "127.0.0.1";
const usualPorts = { sdk: 4321, http: 8080 };

/** Milliseconds to a word: as fast as one reads, so that answers are seen to grow and can be stopped. */
const pace = 40;

const newKey = (user: string): string => `demo-${user}-${randomBytes(12).toString("hex")}`;

const demoUsers = () => [
  { tenant: "acme", user: "alice", key: newKey("alice"), roles: ["user"] },
  { tenant: "acme", user: "bob", key: newKey("bob"), roles: ["user"] },
  { tenant: "ops", user: "operator", key: newKey("operator"), roles: ["admin"] },
];

/** The port if it is free, else any. */
const portOr0 = async (port: number): Promise<number> => ((await isFree(host, port)) ? port : 0);

const startDemoNode = async (
  directory: string,
  users: Demo["users"],
  policy: Readonly<Record<"provider" | "httpSessions", object>>,
) => {
  // What the environment says is for real nodes, and its proxy is not the way to our own loopback.
  const config = await loadConfig({
    env: {},
    overrides: {
      sdk: { host, port: await portOr0(usualPorts.sdk) },
      http: { host, port: await portOr0(usualPorts.http) },
      auth: { keys: users },
      defaults: { isolation: "user", model: "scripted-1", ...policy },
      state: { path: join(directory, "state") },
      store: { url: `sqlite:${join(directory, "squadron.db")}` },
    },
  });
  return startNode(config, { log: standardErrorLog("warn"), environment: {} });
};

const demo = async ({ json }: { json?: true }): Promise<void> => {
  const directory = await mkdtemp(join(tmpdir(), "squadron-demo-"));
  const stopped = stopRequested(() => rmSync(directory, { recursive: true, force: true }));
  const parts = createParts();
  // A runtime that is just being killed may still create a file: hence the retries.
  parts.defer(() => rm(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 }));
  try {
    const users = demoUsers();
    const apiKey = randomBytes(12).toString("hex");
    const model = await startScriptedModel({ apiKey, cues, pace });
    parts.defer(model.close);
    const invitations = await startInvitations();
    parts.defer(invitations.close);
    const node = await startDemoNode(directory, users, {
      provider: { type: "openai", baseUrl: model.url, apiKey },
      httpSessions: { tools: [invitations.tool] },
    });
    parts.defer(node.close);
    const http = httpUrl(node);
    const room = await makeDemoRoom(http, (name) => users.find(({ user }) => user === name)?.key ?? "");
    const running: Demo = { http, sdk: sdkEndpoint(node), model: model.url, users, room };
    if (json) printJson(running);
    else print(demoPage(running, process.env));
    await stopped;
    note("\nEnding the demo, nothing of it stays behind …");
  } finally {
    await parts.close();
  }
};

export const demoCommand = (): Command =>
  new Command("demo")
    .description(
      "run a whole node with a chat room, two users and a scripted model (not an AI), and leave nothing behind",
    )
    .option("--json", "print endpoints and keys as JSON")
    .action(demo);
