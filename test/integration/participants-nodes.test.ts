import { expect, it } from "vitest";
import { readStream } from "../support/event-reader.ts";
import { httpOf } from "../support/http-client.ts";
import { connectRaw } from "../support/raw-client.ts";
import { startTestNode, users } from "../support/test-node.ts";
import { rowOf, sayIn } from "../support/victim.ts";
import { eventually } from "../support/wait.ts";

it("what another node has changed counts from a participant's next call on, and where the session goes next", async () => {
  await using first = await startTestNode({ isolation: "user" });
  await using second = await startTestNode({
    isolation: "user",
    storeOf: first.directory,
    model: first.model,
  });
  const alice = await connectRaw(first.node.sdk.port, users.alice.key);
  await alice.ask("session.create", { sessionId: "s" });
  await sayIn(alice, "s", "[[echo one]]");
  const { publicId, id } = await rowOf(first.node, "s");
  const at = `/v1/sessions/${publicId}/participants/bob`;
  const there = httpOf(second);
  const give = async (role: string): Promise<void> => {
    expect((await there.call("alice", "PUT", at, { role })).status).toBe(200);
  };

  await give("writer");
  const bob = await connectRaw(first.node.sdk.port, users.bob.key);
  await bob.ask("session.resume", { sessionId: "alice~s" });
  expect(await sayIn(bob, "alice~s", "[[echo his]]")).toBe("his");
  await give("reader");
  expect(await bob.call("session.send", { sessionId: "alice~s", prompt: "x" })).toMatchObject({
    code: "forbidden",
  });
  await bob.ask("session.getMessages", { sessionId: "alice~s" });

  await give("writer");
  await bob.ask("session.send", { sessionId: "alice~s", prompt: "[[hold node]] [[echo his second]]" });
  await eventually(() => first.model.holding("node") === 1, { what: "his turn" });
  await bob.ask("session.send", { sessionId: "alice~s", prompt: "[[echo NEVER]]" });
  await using here = readStream((_last, signal) =>
    first.fetch("bob", `/v1/sessions/${publicId}/events`, { signal }),
  );
  await here.until("his stream here", () => here.status === 200);
  expect((await there.call("alice", "DELETE", at)).status).toBe(204);
  first.model.release("node");
  await eventually(() => JSON.stringify(bob.messages.at(-1)?.body.params).includes("session.deleted"), {
    what: "Bob's client being told when the next turn was to begin",
  });
  await here.until("his stream here to be refused", () => here.status === 404);
  const { body: listed } = await httpOf(first).call("alice", "GET", `/v1/sessions/${publicId}/turns?limit=2`);
  expect((listed.turns as { state: string }[]).map(({ state }) => state)).toEqual(["aborted", "completed"]);
  await give("reader");
  await bob.ask("session.resume", { sessionId: "alice~s" });

  // He reads where the session is not.
  await using stream = readStream((_last, signal) =>
    second.fetch("bob", `/v1/sessions/${publicId}/events`, { signal }),
  );
  await stream.until("his stream there", () => stream.status === 200);
  expect((await httpOf(first).call("alice", "DELETE", at)).status).toBe(204);
  await eventually(() => JSON.stringify(bob.messages.at(-1)?.body.params).includes("session.deleted"), {
    what: "Bob's client being told",
  });
  await alice.ask("session.detach", { sessionId: "s" });
  await eventually(
    () => first.node.gateway.hosts.every(({ row, life }) => row.id !== id || life === "hibernated"),
    {
      what: "the session asleep",
    },
  );
  for (const { unitKey } of first.node.fleet.list())
    if (unitKey !== undefined) await first.node.fleet.release(unitKey);
  expect(second.node.gateway.hosts.filter(({ row }) => row.id === id)).toEqual([]);
  const moved = await connectRaw(second.node.sdk.port, users.alice.key);
  await moved.ask("session.resume", { sessionId: "s" });
  expect(await sayIn(moved, "s", "[[echo NOT-FOR-BOB]]")).toBe("NOT-FOR-BOB");
  await stream.until("his stream to be refused", () => stream.status === 404);
  expect(JSON.stringify(stream.events)).not.toContain("NOT-FOR-BOB");
  await Promise.all([alice.close(), bob.close(), moved.close()]);
});

it("in a session that is a unit of its own, a participant's calls about a runtime do not get into the founder's", async () => {
  await using squadron = await startTestNode({
    isolation: "session",
    allow: { all: true },
    policy: { trusted: true },
  });
  const alice = await connectRaw(squadron.node.sdk.port, users.alice.key);
  await alice.ask("session.create", { sessionId: "s" });
  await sayIn(alice, "s", "[[echo one]]");
  const { publicId } = await rowOf(squadron.node, "s");
  const http = httpOf(squadron);
  await http.call("alice", "PUT", `/v1/sessions/${publicId}/participants/bob`, { role: "owner" });
  const bob = await connectRaw(squadron.node.sdk.port, users.bob.key);
  await bob.ask("session.resume", { sessionId: "alice~s" });
  await alice.ask("user.settings.get", {});
  for (const [method, params] of [
    ["user.settings.get", {}],
    ["user.settings.set", { settings: { theme: "bobs" } }],
    ["mcp.config.list", {}],
    ["account.getCurrentAuth", {}],
    ["skills.config.setDisabledSkills", { disabledSkills: ["x"] }],
  ] as const)
    expect(await bob.call(method, params)).toMatchObject({ kind: "error", code: "method_denied" });
  for (const [method, params] of [
    ["session.shell.exec", { command: "id" }],
    ["session.shell.executeUserRequested", { command: "id" }],
    ["sessions.getEventFilePath", {}],
  ] as const)
    expect(await bob.call(method, { sessionId: "alice~s", ...params })).toMatchObject({
      kind: "error",
      code: "forbidden",
    });
  await Promise.all([alice.close(), bob.close()]);
});
