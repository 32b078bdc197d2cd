import { expect, test } from "vitest";
import { httpOf } from "../support/http-client.ts";
import { tcpSocketsOf } from "../support/process-memory.ts";
import { startTestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";
import { openGuideMachine } from "./guide-machine.ts";
import { CLILoadBalancer, chatRoute } from "./guide-way.ts";
import { newSession } from "./say.ts";

const requests = 10;
const established = "01";

test("each request to the guide's /chat leaves a connection open", async () => {
  await using machine = await openGuideMachine();
  const { cliUrl, pid } = await machine.startCLI();
  const chat = chatRoute(new CLILoadBalancer([cliUrl]), machine.newClient, machine.sessionConfig);
  for (let sent = 1; sent <= requests; sent++) {
    await chat({ user: { id: "alice" }, body: { message: "hello" } });
    const sockets = await tcpSocketsOf(pid);
    const open = sockets.filter((line) => line.trim().split(/\s+/)[3] === established);
    expect(open.length).toBeGreaterThanOrEqual(sent);
  }
});

test("requests to ours leave no connection, answered, streamed or cut", async () => {
  await using squadron = await startTestNode();
  const http = httpOf(squadron);
  const { gateway } = squadron.node;
  const id = await newSession(http, "alice");
  const path = `/v1/sessions/${id}/messages`;
  for (let sent = 0; sent < requests; sent++) {
    const answer = await http.call("alice", "POST", path, { prompt: "hello" });
    expect(answer.status).toBe(200);
    await http.events("alice", path, { prompt: "hello" });
  }
  const cut = new AbortController();
  const pending = squadron.fetch("alice", path, {
    method: "POST",
    body: JSON.stringify({ prompt: "[[echo cut]] [[hold cut]]" }),
    signal: cut.signal,
  });
  const failed = expect(pending).rejects.toThrow();
  await eventually(() => squadron.model.holding("cut") === 1, { what: "the turn runs" });
  cut.abort();
  await failed;
  squadron.model.release("cut");
  await eventually(() => gateway.connections === 0, { what: "every connection is closed" });
  expect(gateway.hosts.flatMap(({ attachments }) => attachments)).toEqual([]);
});

test("an SDK client of ours is one connection for as long as it lives, and none afterwards", async () => {
  await using squadron = await startTestNode();
  const { gateway } = squadron.node;
  const client = squadron.client("alice");
  const sessions = await Promise.all([client.createSession({}), client.createSession({})]);
  for (const session of sessions) await session.sendAndWait({ prompt: "hello" });
  expect(gateway.connections).toBe(1);
  await client.stop();
  await eventually(() => gateway.connections === 0, { what: "the connection is closed" });
});
