import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { frameOf } from "../../src/wire/writer.ts";
import { connectRaw } from "../support/raw-client.ts";
import { startTestNode, type TestNode } from "../support/test-node.ts";

let squadron: TestNode;
beforeAll(async () => {
  squadron = await startTestNode();
});
afterAll(() => squadron.stop());

/** What the port sends to a plain socket until it closes, or until `until` has come. */
const talk = async (bytes: readonly Buffer[], until?: string): Promise<string> => {
  const socket = connect(squadron.node.sdk.port, "127.0.0.1");
  await once(socket, "connect");
  let text = "";
  const ended = Promise.withResolvers<void>();
  socket.on("data", (chunk) => {
    text += chunk.toString("utf8");
    if (until !== undefined && text.includes(until)) ended.resolve();
  });
  socket.on("close", () => ended.resolve());
  socket.on("error", () => ended.resolve());
  for (const piece of bytes) socket.write(piece);
  await ended.promise;
  socket.destroy();
  return text;
};

const request = (method: string, params: unknown): Buffer =>
  frameOf(JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }));

describe("the SDK port", () => {
  it("takes only small frames from who has not said who it is", async () => {
    const answer = await talk([request("connect", { token: "x".repeat(100_000) })]);
    expect(answer).toContain('"code":"too_large"');
  });

  it("takes large frames from who has", async () => {
    await using client = await connectRaw(squadron.node.sdk.port, "key-alice");
    const message = "x".repeat(100_000);
    expect((await client.ask("ping", { message })).message).toBe(`pong: ${message}`);
  });

  it("frees a held-back frame at once: a header without its body is answered by an ignorable notification", async () => {
    const frame = request("connect", { token: "key-alice" });
    const header = frame.subarray(0, frame.indexOf("\r\n\r\n") + 4);
    const answer = await talk([header], "$/");
    expect(answer).toMatch(/^Content-Length: \d+\r\n\r\n\{"jsonrpc":"2.0","method":"\$\//);
  });

  it("answers nothing but connect to a stranger", async () => {
    const answer = await talk([request("session.list", {})], "unauthenticated");
    expect(answer).toContain('"code":"unauthenticated"');
  });
});
