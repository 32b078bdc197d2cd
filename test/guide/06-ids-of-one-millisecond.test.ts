import { afterEach, expect, test, vi } from "vitest";
import { httpOf } from "../support/http-client.ts";
import { startTestNode } from "../support/test-node.ts";
import { openGuideMachine } from "./guide-machine.ts";
import { chatRoutes, getSessionId } from "./guide-way.ts";
import { newSession, say } from "./say.ts";

/** All that happens from here on happens in one millisecond. */
const stopTime = (): void => {
  vi.spyOn(Date, "now").mockReturnValue(1_700_000_000_000);
};
afterEach(() => {
  vi.restoreAllMocks();
});

test("two sessions of the guide in one millisecond are one: the second conversation sees the first", async () => {
  await using machine = await openGuideMachine();
  const client = machine.newClient((await machine.startCLI()).cliUrl);
  stopTime();
  expect(getSessionId("alice", "chat")).toBe(getSessionId("alice", "chat"));
  const routes = chatRoutes(client, machine.sessionConfig);
  const user = { id: "alice" };
  const private_ = await routes.start({ user, body: undefined });
  await routes.message({ user, body: { ...private_, message: "about my illness" } });
  const work = await routes.start({ user, body: undefined });
  const answer = await routes.message({ user, body: { ...work, message: "[[recall]] [[count]]" } });
  expect(answer).toEqual({ content: "about my illness 2" });
});

test("two of ours in one millisecond are two, over HTTP and over the SDK", async () => {
  await using squadron = await startTestNode();
  const http = httpOf(squadron);
  const client = squadron.client("alice");
  stopTime();
  const ids = await Promise.all(Array.from({ length: 5 }, () => newSession(http, "alice")));
  expect(new Set(ids).size).toBe(5);
  for (const id of ids) {
    const path = `/v1/sessions/${id}/messages`;
    expect((await http.call("alice", "POST", path, { prompt: "[[count]]" })).body.content).toBe("1");
  }
  const sessions = await Promise.all([client.createSession({}), client.createSession({})]);
  for (const session of sessions) expect(await say(session, "[[count]]")).toBe("1");
});

test("a name that is taken is refused by our HTTP API, not joined silently", async () => {
  await using squadron = await startTestNode();
  const http = httpOf(squadron);
  const id = await newSession(http, "alice", { name: "chat" });
  expect(await http.call("alice", "POST", "/v1/sessions", { name: "chat" })).toMatchObject({
    status: 409,
    body: { code: "name_taken", details: { id } },
  });
});
