import { existsSync } from "node:fs";
import { readdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import type { Runtime } from "../../src/fleet/fleet.ts";
import { SquadronError } from "../../src/kernel/errors.ts";
import { isObject } from "../../src/kernel/json.ts";
import { eventually, within } from "../support/wait.ts";
import { createSession, isAlive, processesOf, type TestFleet, testFleet, user } from "./fixtures/fleet.ts";

const stateCounts = ({ fleet }: TestFleet) => fleet.list().map(({ state }) => state);
const spares = async (t: TestFleet, count: number) => {
  await eventually(
    () =>
      t.fleet.list().filter(({ state }) => state === "spare").length === count &&
      !stateCounts(t).includes("starting"),
    { what: `${count} spares` },
  );
  return t.fleet.list().flatMap(({ state, pid }) => (state === "spare" && pid !== undefined ? [pid] : []));
};

test("a unit gets a spare, which is replaced; nobody's spares have neither unit nor user in the list", async () => {
  await using t = await testFleet({ spares: 2 });
  const waiting = await spares(t, 2);
  expect(t.fleet.boundUnits()).toEqual([]);
  expect(t.fleet.runtimes()).toEqual([]);
  expect(t.fleet.list()[0]).not.toHaveProperty("unitKey");
  const runtime = await t.fleet.runtimeFor(user("alice"));
  expect(waiting).toContain(runtime.pid);
  expect(t.fleet.boundUnits()).toEqual(["user/acme/alice"]);
  expect((await createSession(runtime, "s1")).result()).toMatchObject({ sessionId: "s1" });
  expect(await spares(t, 2)).not.toContain(runtime.pid);
  expect(await t.metrics.text()).toContain('squadron_runtimes{state="spare"} 2');
});

test("a spare has no room of its own: at the limit there is none", async () => {
  await using t = await testFleet({ spares: 2, max: 2 });
  await spares(t, 2);
  await t.fleet.runtimeFor(user("a"));
  await spares(t, 1);
  await t.fleet.runtimeFor(user("b"));
  await eventually(() => t.fleet.list().length === 2, { what: "no spare is left" });
  expect(t.fleet.hasRoomFor(user("b"))).toBe(true);
  expect(t.fleet.hasRoomFor(user("c"))).toBe(false);
  await expect(t.fleet.runtimeFor(user("c"))).rejects.toMatchObject({ code: "no_capacity" });
  await t.fleet.release("user/acme/b");
  await spares(t, 1);
});

test("a spare that has died is not given out, and is replaced", async () => {
  await using t = await testFleet({ spares: 1 });
  const [pid = 0] = await spares(t, 1);
  process.kill(pid, "SIGSTOP");
  const asked = t.fleet.runtimeFor(user("a"));
  process.kill(pid, "SIGKILL");
  expect(isAlive((await asked).pid)).toBe(true);
  expect((await asked).pid).not.toBe(pid);
  expect(await spares(t, 1)).not.toContain(pid);
});

test("the unit's files are there before anybody gets the runtime, and work as if they had been there at its start", async () => {
  let begun = 0;
  const populate = async (runtime: Runtime) => {
    begun++;
    await writeFile(join(runtime.home, "settings.json"), JSON.stringify({ renderMarkdown: false }));
    await writeFile(
      join(runtime.home, "mcp-config.json"),
      JSON.stringify({ mcpServers: { mine: { type: "http", url: "http://127.0.0.1:9/", tools: ["*"] } } }),
    );
  };
  await using t = await testFleet({ spares: 1 }, { populate });
  const [spare] = await spares(t, 1);
  const callers = await Promise.all(Array.from({ length: 20 }, () => t.fleet.runtimeFor(user("alice"))));
  const [runtime] = callers;
  expect(new Set(callers).size).toBe(1);
  expect(begun).toBe(1);
  expect(runtime?.pid).toBe(spare);
  const settings = (await runtime?.peer.request("user.settings.get", {}))?.result();
  expect(isObject(settings) && settings.settings).toMatchObject({ renderMarkdown: { value: false } });
  expect((await runtime?.peer.request("mcp.config.list", {}))?.result()).toMatchObject({
    servers: { mine: { url: "http://127.0.0.1:9/" } },
  });
});

test("a runtime whose files cannot be restored is killed, its callers get the reason, and the next is tried anew", async () => {
  const failure = new SquadronError("store_unavailable", "The store is away.");
  const given: Runtime[] = [];
  const populate = async (runtime: Runtime) => {
    given.push(runtime);
    if (given.length === 1) throw failure;
  };
  await using t = await testFleet({}, { populate });
  const callers = await Promise.allSettled([t.fleet.runtimeFor(user("a")), t.fleet.runtimeFor(user("a"))]);
  expect(callers.map((caller) => caller.status === "rejected" && caller.reason)).toEqual([failure, failure]);
  expect(t.fleet.find("user/acme/a")).toBeUndefined();
  const second = await t.fleet.runtimeFor(user("a"));
  expect(second).toBe(given[1]);
  expect(t.closed, "whoever was populated is told to be gone").toEqual([given[0]]);
  expect(t.fleet.condition).toEqual({ kind: "ok" });
});

test("while files are restored into it, the end of the runtime and of the fleet are waited for by nobody in vain", async () => {
  const { promise: restored, resolve: finish } = Promise.withResolvers<void>();
  const { promise: asked, resolve: tell } = Promise.withResolvers<Runtime>();
  const populate = async (runtime: Runtime) => {
    tell(runtime);
    await restored;
  };
  await using t = await testFleet({}, { populate });
  const caller = t.fleet.runtimeFor(user("a"));
  const rejected = expect(caller).rejects.toMatchObject({ code: "runtime_gone" });
  const runtime = await asked;
  const killed = runtime.kill();
  await within(killed, { what: "the runtime is killed" });
  expect(existsSync(runtime.home), "its files stay as long as somebody writes them").toBe(true);
  finish();
  await rejected;
  await eventually(() => !existsSync(dirname(runtime.homeDirectory)), { what: "the files are removed" });
});

test("a retiring runtime runs on beside the one that its unit gets instead", async () => {
  await using t = await testFleet({ max: 1, spares: 1 });
  const old = await t.fleet.runtimeFor(user("a"));
  await createSession(old, "s1");
  expect(t.fleet.retire(old, "requested")).toBe(true);
  expect(t.fleet.retire(old), "only once").toBe(false);
  expect(t.fleet.find("user/acme/a")).toBeUndefined();
  expect(t.fleet.boundUnits()).toEqual([]);
  const fresh = await t.fleet.runtimeFor(user("a"));
  expect(fresh.pid).not.toBe(old.pid);
  expect(t.fleet.find("user/acme/a")).toBe(fresh);
  expect(new Set(t.fleet.runtimes())).toEqual(new Set([old, fresh]));
  expect(t.fleet.retire(fresh), "one at a time").toBe(false);
  expect(old.gone).toBe(false);
  await old.peer.request("ping", {});
  expect(t.fleet.list().find(({ id }) => id === old.id)).toMatchObject({
    state: "retiring",
    reason: "requested",
  });
  await old.kill();
  await within(old.closed, { what: "the old one is gone" });
  expect(t.closed).toEqual([old]);
  expect(t.fleet.retire(fresh)).toBe(true);
  await t.fleet.release("user/acme/a");
  expect(t.fleet.runtimes()).toEqual([]);
  expect(await t.metrics.text()).toContain('squadron_runtime_recycles_total{reason="requested"} 2');
});

test("close leaves neither processes nor files, of spares and retiring ones neither", async () => {
  const t = await testFleet({ spares: 2 });
  await using _ = t;
  await spares(t, 2);
  t.fleet.retire(await t.fleet.runtimeFor(user("a")));
  await t.fleet.runtimeFor(user("a"));
  await t.fleet.close();
  expect(processesOf(t.statePath)).toEqual([]);
  expect(await readdir(join(t.statePath, "boxes"))).toEqual([]);
  expect(t.fleet.list()).toEqual([]);
});
