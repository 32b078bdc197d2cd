import { expect, test } from "vitest";
import { isAlive } from "../integration/fixtures/fleet.ts";
import { startTestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";
import { freePorts, openGuideMachine } from "./guide-machine.ts";
import { CLIPool } from "./guide-way.ts";
import { say } from "./say.ts";

test("the guide's releaseUser leaves the process running, and the next request adds another", async () => {
  await using machine = await openGuideMachine();
  const pool = new CLIPool(machine, await freePorts(2));
  for (const times of [1, 2]) {
    const client = await pool.getClientForUser("alice");
    await client.start();
    await pool.releaseUser("alice");
    expect(machine.running()).toHaveLength(times);
  }
  // Not merely on its way out: the orphan still serves whoever comes.
  const port = machine.running()[0]?.port;
  const anybody = machine.newClient(`localhost:${port}`);
  await anybody.start();
  expect(await anybody.ping("x")).toMatchObject({ message: "pong: x" });
});

test("ours ends the process when it is released, and nothing of the conversation is lost", async () => {
  const sessions = {
    ttlMs: 86_400_000,
    hibernateAfterMs: 1,
    infinite: { enabled: true, backgroundCompactionThreshold: 0.8 },
  };
  await using squadron = await startTestNode({ isolation: "session", policy: { sessions } });
  const client = squadron.client("alice");
  const session = await client.createSession({ sessionId: "talk" });
  const answered = say(session, "hello [[hold talk]]");
  await eventually(() => squadron.model.holding("talk") > 0, { what: "the turn runs" });
  const pid = squadron.node.fleet.list()[0]?.pid ?? 0;
  expect(isAlive(pid)).toBe(true);
  squadron.model.release("talk");
  await answered;
  await client.stop();
  await eventually(() => squadron.node.fleet.list().length === 0, { what: "the runtime is released" });
  expect(isAlive(pid)).toBe(false);
  const again = await squadron.client("alice").resumeSession("talk", {});
  expect(await say(again, "[[count]]")).toBe("2");
});

test("no runtime outlives our node", async () => {
  await using squadron = await startTestNode({ isolation: "user" });
  await squadron.client("alice").createSession({});
  await squadron.client("bob").createSession({});
  const pids = squadron.node.fleet.list().map(({ pid = 0 }) => pid);
  expect(pids.map(isAlive)).toEqual([true, true]);
  await squadron.stop();
  expect(pids.map(isAlive)).toEqual([false, false]);
});
