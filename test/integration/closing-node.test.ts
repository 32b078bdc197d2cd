import { describe, expect, it } from "vitest";
import { openRawClient } from "../support/raw-client.ts";
import { startTestNode, users } from "../support/test-node.ts";
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

  it("ends the connection of an SDK client when it has refused a message of it, and no turn runs", async () => {
    await using squadron = await startTestNode();
    await using client = await openRawClient(squadron.node.sdk.port);
    await client.ask("connect", { token: users.alice.key });
    await client.ask("session.create", { sessionId: "s" });
    await client.ask("session.send", { sessionId: "s", prompt: "[[echo last]] [[hold draining]]" });
    await eventually(() => squadron.model.holding("draining") > 0, { what: "the turn runs" });
    let drained = false;
    const drain = squadron.node.drain().then(() => {
      drained = true;
    });
    const refusal = { kind: "error", code: "draining" };
    expect(await client.call("session.send", { sessionId: "s", prompt: "during the turn" })).toMatchObject(
      refusal,
    );
    squadron.model.release("draining");
    await eventually(() => client.events("session.idle").length > 0, { what: "the turn is over" });
    expect(client.closed).toBe(false);
    await eventually(() => squadron.node.gateway.drained, { what: "the node is drained" });
    const [ping, refused] = await Promise.all([
      client.call("ping", {}),
      client.call("session.send", { sessionId: "s", prompt: "after the turn" }),
    ]);
    expect(ping.kind).toBe("result");
    expect(refused).toMatchObject(refusal);
    await client.ended;
    expect(drained).toBe(false);
    await drain;
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
    await eventually(() => squadron.node.gateway.hosts.some(({ waiting: turns }) => turns.length > 0), {
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
