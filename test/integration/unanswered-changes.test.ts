import type { CopilotSession } from "@github/copilot-sdk";
import { describe, expect, it, vi } from "vitest";
import { SquadronError } from "../../src/kernel/errors.ts";
import { startTestNode, type TestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";

const config = { availableTools: ["custom:*"] };
const resumed = { ...config, disableResume: true };

const modelOf = async (session: CopilotSession): Promise<string | undefined> =>
  (await session.rpc.model.getCurrent()).modelId;

/** The model to which the history says that the session was switched last. */
const toldModel = async (session: CopilotSession): Promise<string | undefined> =>
  (await session.getEvents())
    .flatMap((event) => (event.type === "session.model_change" ? [event.data.newModel] : []))
    .at(-1);

/** Kills every runtime; the next call wakes the session in another one. */
const killRuntimes = async ({ node }: TestNode): Promise<void> => {
  await Promise.all(node.fleet.boundUnits().map((unit) => node.fleet.release(unit)));
};

describe("a change of a session's model", () => {
  it("whose client goes without waiting for the answer is in force altogether or not at all", async () => {
    await using node = await startTestNode();
    const first = node.client("alice");
    const made = await first.createSession({ ...config, model: "scripted-1", sessionId: "s" });
    await made.sendAndWait({ prompt: "one" });
    await made.disconnect();
    let before = "scripted-1";
    let kept = 0;
    for (let round = 0; round < 12; round++) {
      const client = node.client("alice");
      const session = await client.resumeSession("s", resumed);
      const wanted = `scripted-${round + 2}`;
      session.rpc.model.switchTo({ modelId: wanted }).catch(() => undefined);
      for (let turn = 0; turn < round; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
      await client.forceStop();
      const { gateway } = node.node;
      await eventually(async () => gateway.hosts.length === 0, { what: "its last client has left" });

      const reader = await node.client("alice").resumeSession("s", resumed);
      const inForce = await modelOf(reader);
      expect([before, wanted]).toContain(inForce);
      if (inForce === wanted) {
        kept++;
        expect(await toldModel(reader)).toBe(wanted);
      } else expect(await toldModel(reader)).not.toBe(wanted);
      await killRuntimes(node);
      expect(await modelOf(reader)).toBe(inForce);
      before = inForce ?? "";
      await reader.disconnect();
    }
    expect(kept).toBeGreaterThan(0);
  });

  it("that cannot be stored is in force nowhere, though the runtime has told of it", async () => {
    await using node = await startTestNode();
    const session = await node
      .client("alice")
      .createSession({ ...config, model: "scripted-1", sessionId: "s" });
    await session.sendAndWait({ prompt: "one" });
    let told = 0;
    session.on("session.model_change", () => told++);
    const commit = vi.spyOn(node.node.store.state, "commit");
    commit.mockRejectedValueOnce(new SquadronError("store_unavailable", "The disk is full."));
    await expect(session.rpc.model.switchTo({ modelId: "scripted-2" })).rejects.toThrow("The disk is full.");
    expect(await modelOf(session)).toBe("scripted-1");
    await killRuntimes(node);
    expect(await modelOf(session)).toBe("scripted-1");
    expect(await toldModel(session)).toBeUndefined();
    expect(told).toBe(1);
    await session.rpc.model.switchTo({ modelId: "scripted-2" });
    await killRuntimes(node);
    expect(await modelOf(session)).toBe("scripted-2");
    expect(await toldModel(session)).toBe("scripted-2");
  });
});
