import { connect, createServer } from "node:net";
import { CopilotClient, type CopilotSession, RuntimeConnection } from "@github/copilot-sdk";
import { describe, expect, it } from "vitest";
import { startTestNode, users } from "../support/test-node.ts";
import { eventually, within } from "../support/wait.ts";

/** A slow way to the node: what it says can be held back, what the client says comes at once. */
const slowWay = async (port: number) => {
  const held: Buffer[] = [];
  let holding = false;
  let sent = "";
  let pass = (): void => {};
  const server = createServer({ noDelay: true }, (client) => {
    const node = connect({ port, host: "127.0.0.1", noDelay: true });
    pass = () => {
      for (const chunk of held.splice(0)) client.write(chunk);
    };
    node.on("data", (chunk: Buffer) => {
      if (holding) held.push(chunk);
      else client.write(chunk);
    });
    client.on("data", (chunk: Buffer) => {
      sent += String(chunk);
      node.write(chunk);
    });
    for (const [one, other] of [
      [client, node],
      [node, client],
    ] as const)
      one.on("error", () => other.destroy()).on("close", () => other.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The way has no port.");
  return {
    port: address.port,
    hold: () => {
      holding = true;
    },
    release: () => {
      holding = false;
      pass();
    },
    /** What the client has not been given yet. */
    held: () => String(Buffer.concat(held)),
    sent: () => sent,
    [Symbol.asyncDispose]: async () => void server.close(),
  };
};

const approve = async () => ({ kind: "approve-once" }) as const;

/** Lets the client send while the idle behind its failed turn is on its way to it. */
const sendInto = async (
  way: Awaited<ReturnType<typeof slowWay>>,
  session: CopilotSession,
  prompt: string,
): Promise<string | undefined> => {
  way.hold();
  await eventually(() => way.held().includes('"session.idle"'), { what: "the idle is on its way" });
  const answer = session.sendAndWait(prompt, 10_000);
  await eventually(() => way.sent().includes(prompt), { what: "the message is on its way" });
  way.release();
  return (await within(answer, { what: "the answer" }))?.data.content;
};

describe("a message that crosses the idle of an earlier turn on its way", () => {
  it("gets its own answer, and its own error", async () => {
    await using squadron = await startTestNode();
    await using way = await slowWay(squadron.node.sdk.port);
    const client = new CopilotClient({
      connection: RuntimeConnection.forUri(`127.0.0.1:${way.port}`, { connectionToken: users.alice.key }),
    });
    try {
      const session = await client.createSession({ sessionId: "s", onPermissionRequest: approve });
      await expect(session.sendAndWait("[[fail 400]]")).rejects.toThrow();
      expect(await sendInto(way, session, "[[echo its own]]")).toBe("its own");
      await expect(session.sendAndWait("[[fail 400]]")).rejects.toThrow();
      await expect(sendInto(way, session, "once more: [[fail 400]]")).rejects.toThrow(/400/);
      expect((await session.sendAndWait("[[echo later]]"))?.data.content).toBe("later");
    } finally {
      await client.forceStop();
    }
  });
});
