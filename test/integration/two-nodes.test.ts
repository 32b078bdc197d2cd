import { describe, expect, it } from "vitest";
import { httpOf } from "../support/http-client.ts";
import { startTestNode, type TestNode, type TestNodeOptions } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";

const approve = async () => ({ kind: "approve-once" }) as const;

/** Another node on the store and the model of the first. */
const besides = (first: TestNode, options: TestNodeOptions = {}): Promise<TestNode> =>
  startTestNode({ ...options, storeOf: first.directory, model: first.model });

const isAsleep = ({ node }: TestNode): Promise<unknown> =>
  eventually(() => node.gateway.hosts.every(({ life }) => life === "hibernated"), { what: "all sleep" });

const says = (node: TestNode, name: string): boolean => node.model.holding(name) > 0;

describe.each(["shared", "user"] as const)("two nodes on one store, isolation %s", (isolation) => {
  it("have a session one at a time, and each goes on where the other has left it", async () => {
    const policy = { isolation };
    await using first = await startTestNode({ policy });
    await using second = await besides(first, { policy });
    const http = httpOf(second);
    const client = first.client("alice");
    const session = await client.createSession({ sessionId: "s", onPermissionRequest: approve });
    await session.sendAndWait("[[echo one]]");

    const id = (await first.node.store.sessions.byName("acme", "alice", "s"))?.publicId;
    const refused = await http.call("alice", "POST", `/v1/sessions/${id}/messages`, { prompt: "[[count]]" });
    expect(refused).toMatchObject({ status: 503, body: { code: "held_elsewhere" } });
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    expect((await http.call("alice", "DELETE", `/v1/sessions/${id}`)).body).toMatchObject({
      code: "held_elsewhere",
    });
    expect((await session.sendAndWait("[[count]]"))?.data.content).toBe("2");

    await session.disconnect();
    await isAsleep(first);
    for (const { unitKey } of first.node.fleet.list())
      if (unitKey !== undefined) await first.node.fleet.release(unitKey);
    const there = await second.client("alice").resumeSession("s", { onPermissionRequest: approve });
    expect((await there.sendAndWait("[[count]]"))?.data.content).toBe("3");
    await expect(client.resumeSession("s", { onPermissionRequest: approve })).rejects.toThrow(
      /Another node has this session/,
    );
    await there.rpc.model.switchTo({ modelId: "scripted-2" });
    await there.disconnect();
    await isAsleep(second);
    for (const { unitKey } of second.node.fleet.list())
      if (unitKey !== undefined) await second.node.fleet.release(unitKey);

    const back = await client.resumeSession("s", { onPermissionRequest: approve });
    expect((await back.sendAndWait("[[count]] [[model]]"))?.data.content).toBe("4 scripted-2");
  });

  it("tell the clients of a session that has been lost, and keep nothing of what it did then", async () => {
    const options = { policy: { isolation }, leaseTtlMs: 1_500 };
    await using first = await startTestNode(options);
    await using second = await besides(first, options);
    const session = await first
      .client("alice")
      .createSession({ sessionId: "s", onPermissionRequest: approve });
    await session.sendAndWait("[[echo one]]");
    const told: string[] = [];
    session.on(({ type }) => void told.push(type));
    const running = session.sendAndWait("[[hold late]] [[echo two]]");
    const failed = expect(running).rejects.toThrow(/taken this session over|has gone/);
    await eventually(() => says(first, "late"), { what: "the model is asked" });

    // The first node cannot show any more that it lives, and nobody answers it.
    const { leases } = first.node.store;
    const renew = leases.renew;
    Object.assign(leases, { renew: () => new Promise(() => undefined) });
    const there = second.client("alice");
    const taken = await eventually(
      () => there.resumeSession("s", { onPermissionRequest: approve }).catch(() => undefined),
      { what: "the second node has the session" },
    );
    await failed;
    await eventually(() => told.at(-1) === "session.idle", { what: "the client is told of an end" });
    expect(told.at(-2)).toBe("session.error");
    first.model.release("late");
    expect((await taken.sendAndWait("[[count]]"))?.data.content).toBe("2");
    const row = await second.node.store.sessions.byName("acme", "alice", "s");
    const turns = await second.node.store.turns.list(row?.id ?? "", { limit: 10 });
    expect(turns.map(({ state }) => state)).toEqual(["completed", "interrupted", "completed"]);
    Object.assign(leases, { renew });
  });
});

it("a node that starts beside another leaves its turns and one-shot sessions alone", async () => {
  await using first = await startTestNode({ isolation: "shared" });
  const prompt = httpOf(first).call("alice", "POST", "/v1/prompts", {
    prompt: "[[hold shot]] [[echo shot]]",
  });
  const session = await first.client("alice").createSession({ sessionId: "s", onPermissionRequest: approve });
  const running = session.sendAndWait("[[hold turn]] [[echo turn]]");
  await eventually(() => says(first, "shot") && says(first, "turn"), { what: "both run" });
  await using second = await besides(first, { isolation: "shared" });
  first.model.release("shot");
  first.model.release("turn");
  expect((await prompt).body).toMatchObject({ content: "shot" });
  expect((await running)?.data.content).toBe("turn");
  expect(await second.node.store.sessions.ephemerals()).toEqual([]);
});

it("a node that was killed is followed at once by the next on its directory, whatever the time of its leases", async () => {
  await using first = await startTestNode();
  const session = await first.client("alice").createSession({ sessionId: "s", onPermissionRequest: approve });
  await session.sendAndWait("[[echo one]]");
  const { store } = first.node;
  // As after its death: nothing is given up.
  Object.assign(store.leases, { forget: async () => undefined, drop: async () => undefined });
  await first.node.close();
  await using next = await startTestNode({ directory: first.directory, model: first.model });
  const back = await next.client("alice").resumeSession("s", { onPermissionRequest: approve });
  expect((await back.sendAndWait("[[count]]"))?.data.content).toBe("2");
});
