import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { expect, it } from "vitest";
import { connectRaw } from "../support/raw-client.ts";
import { startTestNode, users } from "../support/test-node.ts";
import { rowOf, sayIn } from "../support/victim.ts";
import { eventually } from "../support/wait.ts";

/** Files below a directory that hold a text. */
const holding = (directory: string, text: string): string =>
  execFileSync("sh", ["-c", 'grep -rl -- "$1" "$2" || true', "sh", text, directory], { encoding: "utf8" });

it.each(["user", "shared"] as const)(
  "what is deleted goes from a box that lives on, awake or asleep there: isolation %s",
  async (isolation) => {
    await using squadron = await startTestNode({ isolation });
    const { node } = squadron;
    const alice = await connectRaw(node.sdk.port, users.alice.key);
    for (const name of ["awake", "asleep", "stays"]) {
      await alice.ask("session.create", { sessionId: name });
      await sayIn(alice, name, `[[echo canary-of-${name}]]`);
    }
    await alice.ask("session.detach", { sessionId: "asleep" });
    const rows = { awake: await rowOf(node, "awake"), asleep: await rowOf(node, "asleep") };
    await eventually(
      () => !node.gateway.hosts.some(({ row, life }) => row.id === rows.asleep.id && life === "live"),
      { what: "it sleeps" },
    );
    const [runtime] = node.fleet.runtimes();
    if (runtime === undefined) throw new Error("No runtime lives.");
    const box = dirname(runtime.homeDirectory);
    for (const [name, { id }] of Object.entries(rows)) {
      expect(existsSync(runtime.sessionDirectory(id)), name).toBe(true);
      expect(holding(box, `canary-of-${name}`)).not.toBe("");
      await alice.ask("session.delete", { sessionId: name });
      expect(existsSync(runtime.sessionDirectory(id)), name).toBe(false);
      expect(holding(box, `canary-of-${name}`), name).toBe("");
    }
    expect(node.fleet.runtimes()).toEqual([runtime]);
    expect(await sayIn(alice, "stays", "[[count]]")).toBe("2");
    await alice.close();
  },
);
