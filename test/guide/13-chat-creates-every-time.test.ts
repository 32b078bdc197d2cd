import type { CopilotClient } from "@github/copilot-sdk";
import { expect, test } from "vitest";
import { httpOf } from "../support/http-client.ts";
import { startTestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";
import { openGuideMachine } from "./guide-machine.ts";
import { CLILoadBalancer, chatRoute, chatRoutes, type NewClient, SessionManager } from "./guide-way.ts";
import { newSession, say } from "./say.ts";

const user = { id: "alice" };

const recording =
  (newClient: NewClient, clients: CopilotClient[]): NewClient =>
  (cliUrl) => {
    const client = newClient(cliUrl);
    clients.push(client);
    return client;
  };

test("a user of the guide's /chat has lost all history when the session has been let go", async () => {
  await using machine = await openGuideMachine();
  const { cliUrl } = await machine.startCLI();
  const clients: CopilotClient[] = [];
  const newClient = recording(machine.newClient, clients);
  const chat = chatRoute(new CLILoadBalancer([cliUrl]), newClient, machine.sessionConfig);
  expect(await chat({ user, body: { message: "I am allergic to nuts [[count]]" } })).toEqual({
    content: "1",
  });
  await Promise.all(clients.map((client) => client.stop()));
  expect(await chat({ user, body: { message: "[[count]]" } })).toEqual({ content: "1" });
});

test("the guide's SessionManager makes a session forget by evicting it", async () => {
  await using machine = await openGuideMachine();
  const client = machine.newClient((await machine.startCLI()).cliUrl);
  const manager = new SessionManager(client, machine.sessionConfig, 1);
  expect(await say(await manager.getSession("a"), "I am allergic to nuts [[count]]")).toBe("1");
  await manager.getSession("b");
  expect(await say(await manager.getSession("a"), "[[count]]")).toBe("1");
});

test("the guide's second call is silently refused its configuration while the session lives, and gets it afterwards at the price of the history", async () => {
  await using machine = await openGuideMachine();
  const { cliUrl } = await machine.startCLI();
  const lb = new CLILoadBalancer([cliUrl]);
  const clients: CopilotClient[] = [];
  const newClient = recording(machine.newClient, clients);
  const first = chatRoute(lb, newClient, machine.sessionConfig);
  const second = chatRoute(lb, newClient, { ...machine.sessionConfig, model: "scripted-2" });
  const message = "[[model]] [[count]]";
  expect(await first({ user, body: { message } })).toEqual({ content: "scripted-1 1" });
  expect(await second({ user, body: { message } })).toEqual({ content: "scripted-1 2" });
  await Promise.all(clients.map((client) => client.stop()));
  expect(await second({ user, body: { message } })).toEqual({ content: "scripted-2 1" });
});

test("a resume of the guide's takes another model for everybody, without a word", async () => {
  await using machine = await openGuideMachine();
  const { cliUrl } = await machine.startCLI();
  const routes = (model: string) =>
    chatRoutes(machine.newClient(cliUrl), { ...machine.sessionConfig, model });
  const { sessionId } = await routes("scripted-1").start({ user, body: undefined });
  const body = { sessionId, message: "[[model]]" };
  expect(await routes("scripted-1").message({ user, body })).toEqual({ content: "scripted-1" });
  expect(await routes("scripted-2").message({ user, body })).toEqual({ content: "scripted-2" });
  const joined = await machine.newClient(cliUrl).createSession({ sessionId, ...machine.sessionConfig });
  expect(await say(joined, "[[model]]")).toBe("scripted-2");
});

test("ours remembers, whatever became of the session meanwhile: the same create is always the same session", async () => {
  const sessions = {
    ttlMs: 86_400_000,
    hibernateAfterMs: 1,
    infinite: { enabled: true, backgroundCompactionThreshold: 0.8 },
  };
  await using squadron = await startTestNode({ policy: { sessions } });
  const { node } = squadron;
  const chat = async (prompt: string): Promise<string | undefined> => {
    const client = squadron.client("alice");
    try {
      return await say(await client.createSession({ sessionId: "user-alice-chat" }), prompt);
    } finally {
      await client.stop();
    }
  };
  await chat("I am allergic to nuts");
  await eventually(() => node.gateway.hosts.every(({ life }) => life !== "live"), { what: "it hibernates" });
  expect(await chat("[[recall]] [[count]]")).toBe("I am allergic to nuts 2");
  for (const { unitKey } of node.fleet.list()) if (unitKey !== undefined) await node.fleet.release(unitKey);
  expect(await chat("[[recall]] [[count]]")).toMatch(/^I am allergic to nuts .* 3$/);
});

test("ours tells a second caller that the session is there, and changes nothing in it", async () => {
  await using squadron = await startTestNode();
  const http = httpOf(squadron);
  const id = await newSession(http, "alice", { name: "chat", model: "scripted-1" });
  const model = async () =>
    (await http.call("alice", "POST", `/v1/sessions/${id}/messages`, { prompt: "[[model]]" })).body.content;
  expect(await model()).toBe("scripted-1");
  const again = await http.call("alice", "POST", "/v1/sessions", { name: "chat", model: "scripted-2" });
  expect(again).toMatchObject({ status: 409, body: { code: "name_taken", details: { id } } });
  expect(await model()).toBe("scripted-1");
});
