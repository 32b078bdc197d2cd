import { approveAll, CopilotClient, RuntimeConnection } from "@github/copilot-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SquadronError } from "../../src/kernel/errors.ts";
import { httpOf } from "../support/http-client.ts";
import { connectRaw } from "../support/raw-client.ts";
import { startTestNode, type TestNode } from "../support/test-node.ts";
import { eventually, within } from "../support/wait.ts";

let squadron: TestNode;
beforeAll(async () => {
  squadron = await startTestNode({ isolation: "shared" });
});
afterAll(() => squadron?.stop());

const makeKey = async (): Promise<{ readonly id: string; readonly key: string }> => {
  const wanted = { tenant: "acme", user: "dora" };
  const { status, body } = await httpOf(squadron).call("admin", "POST", "/v1/admin/keys", wanted);
  expect(status).toBe(201);
  return { id: String(body.id), key: String(body.key) };
};

const revoke = async (id: string): Promise<void> => {
  expect((await httpOf(squadron).call("admin", "DELETE", `/v1/admin/keys/${id}`)).status).toBe(204);
};

const sdkClient = (key: string): CopilotClient =>
  new CopilotClient({
    connection: RuntimeConnection.forUri(`127.0.0.1:${squadron.node.sdk.port}`, { connectionToken: key }),
  });

describe("a revoked key", () => {
  it("ends the SDK's connection; another key of the same user goes on", async () => {
    const [lost, kept] = [await makeKey(), await makeKey()];
    const [one, two] = [sdkClient(lost.key), sdkClient(kept.key)];
    try {
      const session = await one.createSession({ onPermissionRequest: approveAll });
      const other = await two.createSession({ onPermissionRequest: approveAll });
      await session.sendAndWait({ prompt: "say one" });
      const open = squadron.node.gateway.connections;
      await revoke(lost.id);
      let sent = false;
      // The SDK leaves a request without an answer pending when its connection ends.
      void session.send({ prompt: "say two" }).then(
        () => {
          sent = true;
        },
        () => undefined,
      );
      await eventually(() => squadron.node.gateway.connections === open - 1, {
        what: "one connection less",
      });
      expect(await other.sendAndWait({ prompt: "say three" })).toBeDefined();
      expect(sent).toBe(false);
    } finally {
      await Promise.allSettled([one.forceStop(), two.forceStop()]);
    }
  });

  it("closes the socket after telling why", async () => {
    const { id, key } = await makeKey();
    await using client = await connectRaw(squadron.node.sdk.port, key);
    await revoke(id);
    await within(client.ended, { what: "the end of the connection" });
    expect(client.messages.at(-1)?.body).toMatchObject({
      id: null,
      error: { message: "The key of this connection was revoked.", data: { code: "unauthenticated" } },
    });
  });

  it("ends an event stream over HTTP", async () => {
    const { id, key } = await makeKey();
    const response = await squadron.fetch("alice", "/v1/prompts", {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, accept: "text/event-stream" },
      body: JSON.stringify({ prompt: "[[hold revoked]] never said" }),
    });
    expect(response.status).toBe(200);
    await revoke(id);
    const text = await within(response.text(), { what: "the end of the stream" });
    expect(text).toMatch(/event: turn\.failed\ndata: \{"code":"unauthenticated"/);
  });

  it("opens nothing for a client that was recognised just before", async () => {
    const { id } = await makeKey();
    await revoke(id);
    const link = {
      kind: "sdk",
      notify: () => undefined,
      sendRaw: () => undefined,
      request: async () => ({}),
      close: () => undefined,
    } as const;
    const principal = { tenant: "acme", user: "dora", roles: ["user"] } as const;
    expect(() => squadron.node.gateway.connect(principal, link, undefined, id)).toThrow(SquadronError);
  });
});
