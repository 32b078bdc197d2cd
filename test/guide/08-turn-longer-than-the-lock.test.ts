import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import type { CopilotClient } from "@github/copilot-sdk";
import { expect, test } from "vitest";
import { httpOf } from "../support/http-client.ts";
import { startRedis } from "../support/redis.ts";
import { startTestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";
import { openGuideMachine } from "./guide-machine.ts";
import type { GuideServerOptions } from "./guide-server.ts";
import { type GuideSessionConfig, teamChatRoute } from "./guide-way.ts";
import { newSession, say } from "./say.ts";

const sessionId = "team-project-review";

const answersOf = async (client: CopilotClient, config: GuideSessionConfig): Promise<readonly string[]> => {
  const events = await (await client.resumeSession(sessionId, config)).getEvents();
  return events.flatMap((event) => (event.type === "assistant.message" ? [event.data.content] : []));
};

test("the guide's lock runs out under a long turn: a second server enters, and the shared history forks", async () => {
  await using server = await startRedis();
  const redis = server.connect();
  await using machine = await openGuideMachine();
  const one = await machine.startCLI();
  const other = await machine.startCLI(one.home);
  const [client, otherClient] = [machine.newClient(one.cliUrl), machine.newClient(other.cliUrl)];
  await client
    .createSession({ sessionId, ...machine.sessionConfig })
    .then((made) => say(made, "[[echo start]]"));

  const chat = teamChatRoute(redis, client, machine.sessionConfig, 1);
  const otherChat = teamChatRoute(redis, otherClient, machine.sessionConfig, 60);
  const long = chat({ body: { message: "[[echo long]] [[hold long]]" } });
  await eventually(() => machine.model.holding("long") === 1, { what: "the long turn runs" });
  const refused = await otherChat({ body: { message: "early" } }).catch((error: Error) => error.message);
  expect(refused).toBe("Session is in use by another user");
  await eventually(async () => (await redis.exists(`session-lock:${sessionId}`)) === 0, {
    what: "the lock has run out",
  });
  // While the first turn runs.
  expect(await otherChat({ body: { message: "[[echo other]]" } })).toEqual({ content: "other" });
  expect(machine.model.holding("long")).toBe(1);
  machine.model.release("long");
  expect(await long).toEqual({ content: "long" });

  // Both were told, and go on. What the other one has answered meanwhile, neither has heard.
  await chat({ body: { message: "[[echo then]]" } });
  expect(await otherChat({ body: { message: "[[echo also]]" } })).toEqual({ content: "also" });
  expect(await answersOf(client, machine.sessionConfig)).toEqual(["start", "long", "then"]);
  expect(await answersOf(otherClient, machine.sessionConfig)).toEqual(["start", "other", "also"]);
});

test("a server of the guide's that stood still past its time goes on beside its successor, and forks the history", async () => {
  await using server = await startRedis();
  const redis = server.connect();
  await using machine = await openGuideMachine();
  const one = await machine.startCLI();
  const other = await machine.startCLI(one.home);
  const [client, otherClient] = [machine.newClient(one.cliUrl), machine.newClient(other.cliUrl)];
  await client
    .createSession({ sessionId, ...machine.sessionConfig })
    .then((made) => say(made, "[[echo start]]"));
  const options: GuideServerOptions = {
    redis: server.address,
    keyPrefix: server.keyPrefix,
    cliUrl: one.cliUrl,
    token: one.token,
    config: machine.sessionConfig,
    timeoutSec: 1,
    message: "[[echo zombie]] [[hold zombie]]",
  };
  const zombie = spawn(
    process.execPath,
    [fileURLToPath(new URL("guide-server.ts", import.meta.url)), JSON.stringify(options)],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  try {
    const told = text(zombie.stdout);
    await eventually(() => machine.model.holding("zombie") === 1, { what: "its turn runs" });
    zombie.kill("SIGSTOP");
    await eventually(async () => (await redis.exists(`session-lock:${sessionId}`)) === 0, {
      what: "the lock has run out",
    });
    const otherChat = teamChatRoute(redis, otherClient, machine.sessionConfig);
    expect(await otherChat({ body: { message: "[[echo successor]]" } })).toEqual({ content: "successor" });
    machine.model.release("zombie");
    zombie.kill("SIGCONT");
    // Its client hears nothing of all this.
    expect(await told).toBe("zombie\n");
    expect(await answersOf(client, machine.sessionConfig)).toEqual(["start", "zombie"]);
    expect(await answersOf(otherClient, machine.sessionConfig)).toEqual(["start", "successor"]);
  } finally {
    zombie.kill("SIGKILL");
  }
});

test("ours keeps the session as long as the turn takes, however short its leases: one order, one history", async () => {
  const leaseTtlMs = 700;
  await using one = await startTestNode({ leaseTtlMs });
  await using other = await startTestNode({ leaseTtlMs, storeOf: one.directory, model: one.model });
  const [http, otherHttp] = [httpOf(one), httpOf(other)];
  const id = await newSession(http, "alice");
  const path = `/v1/sessions/${id}/messages`;
  await http.call("alice", "POST", path, { prompt: "start" });
  const begun = performance.now();
  const long = http.call("alice", "POST", path, { prompt: "long [[echo long]] [[hold long]]" });
  await eventually(() => one.model.holding("long") === 1, { what: "the long turn runs" });
  while (performance.now() - begun < 3 * leaseTtlMs) {
    const refused = await otherHttp.call("alice", "POST", path, { prompt: "early" });
    expect(refused).toMatchObject({ status: 503, body: { code: "held_elsewhere" } });
  }
  one.model.release("long");
  expect((await long).body).toMatchObject({ content: "long" });

  // It is done, and makes room.
  await one.node.close();
  const answer = await otherHttp.call("alice", "POST", path, { prompt: "[[recall]] [[count]]" });
  expect(answer).toMatchObject({
    status: 200,
    body: { content: expect.stringMatching(/^start \/ long .* 3$/) },
  });
});
