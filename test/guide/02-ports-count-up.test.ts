import { once } from "node:events";
import { createServer } from "node:net";
import { expect, test } from "vitest";
import { tcpSocketsOf } from "../support/process-memory.ts";
import { startTestNode } from "../support/test-node.ts";
import { freePorts, openGuideMachine } from "./guide-machine.ts";
import { CLIPool } from "./guide-way.ts";

test("the guide's pool fails on a port that is taken, and never uses one again", async () => {
  await using machine = await openGuideMachine();
  const first = await freePorts(3);
  const stranger = createServer().listen(first, "127.0.0.1");
  await once(stranger, "listening");
  const pool = new CLIPool(machine, first);
  try {
    await expect(pool.getClientForUser("alice")).rejects.toThrow("ended before it listened");
  } finally {
    stranger.close();
  }
  await pool.getClientForUser("bob");
  await pool.releaseUser("bob");
  await Promise.all(machine.running().map((cli) => cli.stop()));
  await pool.getClientForUser("bob");
  // Two ports are free again by now.
  expect(machine.running().map(({ port }) => port)).toEqual([first + 2]);
});

test("a second process with the guide's pool cannot start a CLI at all where the first has its own", async () => {
  await using machine = await openGuideMachine();
  const first = await freePorts(1);
  await new CLIPool(machine, first).getClientForUser("alice");
  await expect(new CLIPool(machine, first).getClientForUser("bob")).rejects.toThrow(
    "ended before it listened",
  );
});

test("ours has no ports to collide: its runtimes listen nowhere", async () => {
  await using squadron = await startTestNode({ isolation: "user" });
  await using second = await startTestNode({ isolation: "user" });
  await Promise.all(
    [squadron, second].flatMap((node) =>
      (["alice", "bob"] as const).map((user) => node.client(user).createSession({})),
    ),
  );
  const pids = [squadron, second].flatMap(({ node }) => node.fleet.list().map(({ pid = 0 }) => pid));
  expect(pids).toHaveLength(4);
  const sockets = await Promise.all(pids.map(tcpSocketsOf));
  expect(sockets.flat()).toEqual([]);
});
