import { connect, createServer } from "node:net";
import { CopilotClient, type CopilotSession, RuntimeConnection } from "@github/copilot-sdk";
import { describe, expect, it } from "vitest";
import { connectRaw } from "../support/raw-client.ts";
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

describe("a message that follows an abort of what waited", () => {
  it("gets no idle before its own: neither one that comes after it, nor one that it may have crossed", async () => {
    await using squadron = await startTestNode();
    const { port } = squadron.node.sdk;
    await using other = await connectRaw(port, users.alice.key);
    await using alice = await connectRaw(port, users.alice.key);
    await other.ask("session.create", { sessionId: "s" });
    await alice.ask("session.resume", { sessionId: "s" });
    const said = () =>
      alice.events("assistant.message").map(({ data }) => (data as { content: string }).content);
    const send = (prompt: string) => alice.call("session.send", { sessionId: "s", prompt });
    const hold = async (name: string): Promise<void> => {
      await other.ask("session.send", { sessionId: "s", prompt: `[[hold ${name}]] [[echo of another]]` });
      await eventually(() => squadron.model.holding(name) > 0, { what: `the model holds ${name}` });
    };
    await hold("one");
    await send("[[echo dropped]]");
    const [, sent] = await Promise.all([
      alice.call("session.abort", { sessionId: "s" }),
      send("[[echo own]]"),
    ]);
    expect([sent.kind, alice.events("session.idle")]).toEqual(["result", []]);
    squadron.model.release("one");
    await eventually(() => alice.events("session.idle").length === 1, { what: "its own idle" });
    expect(said().at(-1)).toBe("own");

    await hold("two");
    await send("[[echo dropped too]]");
    await alice.ask("session.abort", { sessionId: "s" });
    expect(alice.events("session.idle")).toHaveLength(2);
    const answered = send("[[echo crossing]]").then(said);
    squadron.model.release("two");
    expect((await within(answered, { what: "the answer to the call" })).at(-1)).toBe("crossing");
  });
});
