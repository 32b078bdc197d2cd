import { describe, expect, it } from "vitest";
import { startTestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";

const approve = async () => ({ kind: "approve-once" }) as const;
const sessions = { ttlMs: 86_400_000, infinite: { enabled: true, backgroundCompactionThreshold: 0.8 } };

describe("a runtime without sessions", () => {
  it("is ended after a while, and started again by the next message, which finds the history", async () => {
    await using squadron = await startTestNode({
      isolation: "user",
      policy: {
        sessions: { ...sessions, hibernateAfterMs: 50 },
      },
    });
    const { fleet } = squadron.node;
    const client = squadron.client("alice");
    const session = await client.createSession({ sessionId: "s", onPermissionRequest: approve });
    await session.sendAndWait("[[echo one]]");
    const [first] = fleet.list();
    await session.disconnect();
    await eventually(() => fleet.list().length === 0, { what: "the runtime has ended" });
    const again = await client.resumeSession("s", { onPermissionRequest: approve });
    expect((await again.sendAndWait("[[count]]"))?.data.content).toBe("2");
    expect(fleet.list()[0]?.id).not.toBe(first?.id);
  });

  it("frees its place for the next user", async () => {
    await using squadron = await startTestNode({
      isolation: "user",
      runtimes: { max: 1 },
      policy: {
        sessions: { ...sessions, hibernateAfterMs: 1 },
      },
    });
    for (const user of ["alice", "bob", "carol"] as const) {
      const response = await eventually(
        async () => {
          const answer = await squadron.fetch(user, "/v1/prompts", {
            method: "POST",
            body: JSON.stringify({ prompt: "[[echo served]]" }),
          });
          return answer.status === 200 ? answer : undefined;
        },
        { what: `${user} is served` },
      );
      expect(await response.json()).toMatchObject({ content: "served" });
    }
  });

  it("stays while another session of the unit is live", async () => {
    await using squadron = await startTestNode({ isolation: "session" });
    const client = squadron.client("alice");
    const parent = await client.createSession({ sessionId: "parent", onPermissionRequest: approve });
    await parent.sendAndWait("[[echo one]]");
    const { sessionId } = await client.rpc.sessions.fork({ sessionId: "parent" });
    const fork = await client.resumeSession(sessionId, { onPermissionRequest: approve });
    await parent.disconnect();
    expect((await fork.sendAndWait("[[count]]"))?.data.content).toBe("2");
    expect(squadron.node.fleet.list()).toHaveLength(1);
  });
});
