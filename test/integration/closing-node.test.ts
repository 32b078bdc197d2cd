import { describe, expect, it } from "vitest";
import { startTestNode } from "../support/test-node.ts";
import { eventually, within } from "../support/wait.ts";

const approve = async () => ({ kind: "approve-once" }) as const;

describe("a node that closes", () => {
  it("tells SDK clients that their turn was interrupted, before their connection ends", async () => {
    await using squadron = await startTestNode();
    const session = await squadron
      .client("alice")
      .createSession({ sessionId: "s", onPermissionRequest: approve });
    const answer = session.sendAndWait("[[echo half]] [[hold closing]]").then(
      () => "answered",
      (error: unknown) => String(error),
    );
    await eventually(() => squadron.model.holding("closing") > 0, { what: "the turn runs" });
    await squadron.node.close();
    expect(await within(answer, { what: "the client is told" })).toContain("shutting down");
  });

  it("tells HTTP clients which message had begun and which had not", async () => {
    await using squadron = await startTestNode();
    const made = await squadron.fetch("alice", "/v1/sessions", { method: "POST", body: "{}" });
    const { id } = (await made.json()) as { id: string };
    const send = async (prompt: string): Promise<unknown> => {
      const response = await squadron.fetch("alice", `/v1/sessions/${id}/messages`, {
        method: "POST",
        body: JSON.stringify({ prompt }),
      });
      return ((await response.json()) as { code: unknown }).code;
    };
    const running = send("[[echo half]] [[hold closing]]");
    await eventually(() => squadron.model.holding("closing") > 0, { what: "the first message runs" });
    const waiting = send("[[echo never]]");
    await eventually(() => squadron.node.gateway.hosts.some(({ waiting: turns }) => turns > 0), {
      what: "the second message waits",
    });
    await squadron.node.close();
    expect(await Promise.all([running, waiting])).toEqual(["turn_interrupted", "draining"]);
  });
});

describe("a turn that fails", () => {
  it("leaves nothing behind that the next question could take for its answer", async () => {
    await using squadron = await startTestNode();
    const session = await squadron
      .client("alice")
      .createSession({ sessionId: "s", onPermissionRequest: approve });
    for (let round = 0; round < 10; round++) {
      await expect(session.sendAndWait("[[fail 400]]")).rejects.toThrow();
      expect((await session.sendAndWait(`[[echo ${round}]]`))?.data.content).toBe(String(round));
    }
  });
});
