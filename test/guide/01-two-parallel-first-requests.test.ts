import { expect, test } from "vitest";
import { isAlive } from "../integration/fixtures/fleet.ts";
import { startTestNode } from "../support/test-node.ts";
import { freePorts, openGuideMachine } from "./guide-machine.ts";
import { CLIPool } from "./guide-way.ts";

test("the guide's pool starts two CLIs for one user, and forgets one of them for ever", async () => {
  await using machine = await openGuideMachine();
  const pool = new CLIPool(machine, await freePorts(2));
  const [first, second] = await Promise.all([pool.getClientForUser("alice"), pool.getClientForUser("alice")]);
  expect(machine.running()).toHaveLength(2);
  expect(first).not.toBe(second);
  const kept = await pool.getClientForUser("alice");
  const lost = kept === first ? second : first;
  await lost.start();
  await pool.releaseUser("alice");
  // The client that the pool has lost still talks to its CLI: nobody will stop either.
  expect(await lost.ping("x")).toMatchObject({ message: "pong: x" });
});

test("ours starts one runtime for a user, however many first requests come at once", async () => {
  await using squadron = await startTestNode({ isolation: "user" });
  const clients = Array.from({ length: 5 }, () => squadron.client("alice"));
  const made = await Promise.all([
    ...clients.map((client) => client.createSession({})),
    ...Array.from({ length: 5 }, () =>
      squadron.fetch("alice", "/v1/sessions", { method: "POST", body: JSON.stringify({}) }),
    ),
  ]);
  expect(made).toHaveLength(10);
  const runtimes = squadron.node.fleet.list();
  expect(runtimes).toHaveLength(1);
  await squadron.stop();
  expect(runtimes.map(({ pid = 0 }) => isAlive(pid))).toEqual([false]);
});
