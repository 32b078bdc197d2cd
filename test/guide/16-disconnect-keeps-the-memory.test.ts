import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { isAlive } from "../integration/fixtures/fleet.ts";
import { startTestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";
import { openGuideMachine } from "./guide-machine.ts";
import { SessionManager } from "./guide-way.ts";
import { say } from "./say.ts";

const sessions = ["one", "two", "three", "four", "five", "six"];
const turns = 5;

/** A process's own memory, in KiB. What it shares with others counts less the more of those there are at the moment. */
const memoryOf = async (pid: number): Promise<number> =>
  Number(/^Anonymous:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1]);

test("the guide's eviction and disconnect give no memory back", async () => {
  await using machine = await openGuideMachine();
  const { cliUrl, pid } = await machine.startCLI();
  const client = machine.newClient(cliUrl);
  const manager = new SessionManager(client, machine.sessionConfig, 1);
  await client.start();
  const empty = await memoryOf(pid);
  let first = 0;
  for (const name of sessions) {
    const session = await manager.getSession(name);
    for (let turn = 0; turn < turns; turn++) await say(session, "hello");
    if (first === 0) first = await memoryOf(pid);
  }
  // The manager believes in one active session all the time.
  expect(manager.active).toBe(1);
  const used = await memoryOf(pid);
  expect(used).toBeGreaterThan(first);
  await (await manager.getSession("six")).disconnect();
  const left = await memoryOf(pid);
  expect(left).toBeGreaterThan(0.8 * used);
  expect(left).toBeGreaterThan(4 * empty);
});

test("ours has none of it left when the sessions sleep, and every conversation goes on under its client", async () => {
  const policy = {
    sessions: {
      ttlMs: 86_400_000,
      hibernateAfterMs: 300,
      infinite: { enabled: true, backgroundCompactionThreshold: 0.8 },
    },
  };
  await using squadron = await startTestNode({ policy, runtimes: { maxSessions: 1 } });
  const { fleet } = squadron.node;
  const client = squadron.client("alice");
  const open = new Map(
    await Promise.all(
      sessions.map(async (name) => [name, await client.createSession({ sessionId: name })] as const),
    ),
  );
  const pids = new Set<number>();
  for (const session of open.values()) {
    for (let turn = 0; turn < turns; turn++) await say(session, "hello");
    for (const { pid } of fleet.list()) if (pid !== undefined) pids.add(pid);
  }
  expect(pids.size).toBeGreaterThan(0);
  await eventually(() => fleet.list().length === 0, { what: "the runtime has ended" });
  expect([...pids].filter(isAlive)).toEqual([]);
  expect(squadron.node.gateway.hosts.map(({ life }) => life)).toEqual(sessions.map(() => "hibernated"));
  for (const session of open.values()) expect(await say(session, "[[count]]")).toBe(`${turns + 1}`);
});

test("ours replaces a runtime that has worked enough while its users go on, so that none grows for ever", async () => {
  await using squadron = await startTestNode({
    isolation: "shared",
    runtimes: {
      probeEveryMs: 50,
      recycle: {
        turns: 10,
        memoryBytes: Number.MAX_SAFE_INTEGER,
        ageMs: Number.MAX_SAFE_INTEGER,
      },
    },
  });
  const { fleet } = squadron.node;
  const users = await Promise.all(
    (["alice", "bob", "carol"] as const).map((user) =>
      squadron.client(user).createSession({ sessionId: "s" }),
    ),
  );
  const pids = new Set<number>();
  for (let turn = 1; turn <= 12; turn++) {
    const answers = await Promise.all(users.map((session) => say(session, "[[count]]")));
    expect(answers).toEqual(users.map(() => `${turn}`));
    for (const { pid } of fleet.list()) if (pid !== undefined) pids.add(pid);
  }
  await eventually(() => [...pids].filter(isAlive).length <= 1, { what: "the worn ones have ended" });
  expect(pids.size).toBeGreaterThan(1);
  for (const session of users) expect(await say(session, "[[count]]")).toBe("13");
});
