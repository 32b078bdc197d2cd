import { describe, expect, it } from "vitest";
import { httpOf } from "../support/http-client.ts";
import { startTestNode } from "../support/test-node.ts";

const approve = async () => ({ kind: "approve-once" }) as const;

describe("the number of sessions", () => {
  it("of a user is exactly what it may be, however many are made at once; one-shot ones do not count", async () => {
    await using squadron = await startTestNode({ limits: { sessionsPerUser: 3 } });
    const http = httpOf(squadron);
    const made = await Promise.all(
      Array.from({ length: 8 }, (_, one) => http.call("alice", "POST", "/v1/sessions", { name: `s${one}` })),
    );
    expect(made.map(({ status }) => status).sort()).toEqual([201, 201, 201, 429, 429, 429, 429, 429]);
    expect(made.find(({ status }) => status === 429)?.body).toMatchObject({
      code: "quota_exceeded",
      details: { limit: "sessionsPerUser", value: 3 },
    });
    expect((await http.call("bob", "POST", "/v1/sessions", {})).status).toBe(201);
    expect((await http.call("alice", "POST", "/v1/prompts", { prompt: "[[echo hi]]" })).status).toBe(200);
    const mine = made.filter(({ status }) => status === 201).map(({ body }) => body);
    // Joining one's own is no new session.
    const client = squadron.client("alice");
    await client.createSession({ sessionId: String(mine[0]?.name), onPermissionRequest: approve });
    await expect(client.createSession({ onPermissionRequest: approve })).rejects.toThrow(/you have 3/i);
    await http.call("alice", "DELETE", `/v1/sessions/${mine[1]?.id}`);
    await client.createSession({ onPermissionRequest: approve });
  });

  it("of a tenant too; a fork is one more, and a refused one takes no place", async () => {
    await using squadron = await startTestNode({ limits: { sessionsPerTenant: 2 } });
    const http = httpOf(squadron);
    const client = squadron.client("alice");
    const session = await client.createSession({ sessionId: "s", onPermissionRequest: approve });
    await session.sendAndWait("[[echo one]]");
    const { sessionId } = await client.rpc.sessions.fork({ sessionId: "s" });
    const full = /your tenant has 2/i;
    await expect(client.rpc.sessions.fork({ sessionId: "s" })).rejects.toThrow(full);
    expect(await http.call("bob", "POST", "/v1/sessions", {})).toMatchObject({
      status: 429,
      body: { code: "quota_exceeded", details: { limit: "sessionsPerTenant", value: 2 } },
    });
    expect((await http.call("carol", "POST", "/v1/sessions", {})).status).toBe(201);
    await client.deleteSession(sessionId);
    await expect(client.rpc.sessions.fork({ sessionId: "absent" })).rejects.toThrow();
    expect((await http.call("bob", "POST", "/v1/sessions", {})).status).toBe(201);
  });
});
