import { expect, test } from "vitest";
import { startTestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";
import { freePorts, openGuideMachine } from "./guide-machine.ts";
import { CLIPool } from "./guide-way.ts";
import { say } from "./say.ts";

test("after the death of its CLI the guide's pool fails this user for ever", async () => {
  await using machine = await openGuideMachine();
  const pool = new CLIPool(machine, await freePorts(2));
  const client = await pool.getClientForUser("alice");
  await say(await client.createSession(machine.sessionConfig), "hello");
  await machine.running()[0]?.stop();
  await eventually(() => machine.running().length === 0, { what: "the CLI is dead" });
  for (let tries = 0; tries < 3; tries++) {
    const again = await pool.getClientForUser("alice");
    expect(again).toBe(client);
    await expect(again.createSession(machine.sessionConfig)).rejects.toThrow();
  }
  expect(machine.running()).toEqual([]);
});

test("after the death of a runtime ours goes on with the next message, on the same client and session", async () => {
  await using squadron = await startTestNode({ isolation: "user" });
  const session = await squadron.client("alice").createSession({});
  await say(session, "hello");
  const dead = squadron.node.fleet.list()[0]?.pid ?? 0;
  process.kill(dead, "SIGKILL");
  await eventually(() => squadron.node.fleet.list().every(({ pid }) => pid !== dead), {
    what: "the node has seen the death",
  });
  expect(await say(session, "[[recall]] [[count]]")).toBe("hello 2");
  expect(squadron.node.fleet.list()).toHaveLength(1);
});
