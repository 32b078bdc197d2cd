import { expect, test } from "vitest";
import { httpOf } from "../support/http-client.ts";
import { startRedis } from "../support/redis.ts";
import { startTestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";
import { openGuideMachine } from "./guide-machine.ts";
import { teamChatRoute, withSessionLock } from "./guide-way.ts";
import { newSession } from "./say.ts";

test("the guide answers one of those who ask at once, the others get an exception", async () => {
  await using server = await startRedis();
  await using machine = await openGuideMachine();
  const client = machine.newClient((await machine.startCLI()).cliUrl);
  await client.createSession({ sessionId: "team-project-review", ...machine.sessionConfig });
  const chat = teamChatRoute(server.connect(), client, machine.sessionConfig);
  const asked = [1, 2, 3, 4, 5].map((at) => chat({ body: { message: `[[echo to ${at}]]` } }));
  const told = await Promise.all(
    asked.map((one) =>
      one.then(
        ({ content }) => content,
        (error: Error) => error.message,
      ),
    ),
  );
  expect(told.filter((text) => text?.startsWith("to ")).length).toBe(1);
  expect(told.filter((text) => text === "Session is in use by another user").length).toBe(4);
});

test("in the guide's way one who asked long ago can be passed by one who has just come", async () => {
  await using server = await startRedis();
  const redis = server.connect();
  const end = Promise.withResolvers<void>();
  const first = withSessionLock(redis, "team", () => end.promise);
  await eventually(async () => (await redis.exists("session-lock:team")) === 1, { what: "it is taken" });
  const served: string[] = [];
  // The patient one can only come again later.
  await expect(withSessionLock(redis, "team", async () => served.push("patient"))).rejects.toThrow(/in use/);
  end.resolve();
  await first;
  await withSessionLock(redis, "team", async () => served.push("new"));
  await withSessionLock(redis, "team", async () => served.push("patient"));
  expect(served).toEqual(["new", "patient"]);
});

test("ours answers all who ask at once, in the order in which they came", async () => {
  await using squadron = await startTestNode();
  const http = httpOf(squadron);
  const id = await newSession(http, "alice", { name: "team" });
  const session = await squadron.node.store.sessions.byName("acme", "alice", "team");
  const rows = () => squadron.node.store.turns.list(session?.id ?? "", { limit: 100 });
  const asked: Promise<unknown>[] = [];
  for (let at = 1; at <= 5; at++) {
    const prompt = `[[echo to ${at}]] [[count]] [[hold team-${at}]]`;
    asked.push(http.call("alice", "POST", `/v1/sessions/${id}/messages`, { prompt }));
    await eventually(async () => (await rows()).length === at, { what: `the ${at}. is in the line` });
  }
  for (let at = 1; at <= 5; at++) {
    await eventually(() => squadron.model.holding(`team-${at}`) === 1, { what: `the ${at}. is served` });
    squadron.model.release(`team-${at}`);
  }
  const answers = (await Promise.all(asked)) as { status: number; body: { content: string } }[];
  expect(answers.map(({ status, body }) => `${status} ${body.content}`)).toEqual(
    [1, 2, 3, 4, 5].map((at) => `200 to ${at} ${at}`),
  );
});
