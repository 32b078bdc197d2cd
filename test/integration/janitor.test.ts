import { describe, expect, it } from "vitest";
import { Secret } from "../../src/kernel/secret.ts";
import { httpOf } from "../support/http-client.ts";
import { startTestNode, type TestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";
import { runCli } from "./cli-process.ts";

const day = 86_400_000;
const approve = async () => ({ kind: "approve-once" }) as const;
const brief = {
  sessions: {
    ttlMs: 50,
    hibernateAfterMs: 300_000,
    infinite: { enabled: true, backgroundCompactionThreshold: 0.8 },
  },
};

const rowOf = async ({ node }: TestNode, name: string, user = "alice") => {
  const row = await node.store.sessions.byName("acme", user, name);
  if (row === undefined) throw new Error(`There is no session ${name}.`);
  return row;
};

/** As if nobody had used it for so long. */
const age = async (squadron: TestNode, name: string, ms: number): Promise<void> => {
  await squadron.node.gateway.services.useLedger.flush();
  const { id } = await rowOf(squadron, name);
  await squadron.node.store.sessions.used([{ id, at: Date.now() - ms, inputTokens: 0, outputTokens: 0 }]);
};

describe("a session past its time", () => {
  it("is never deleted while a client has it open or a turn runs, and is all gone once nobody has", async () => {
    await using squadron = await startTestNode({ policy: brief });
    const { node } = squadron;
    const prune = () => node.janitor.prune({ dryRun: false, limit: 10 });
    const client = squadron.client("alice");
    const session = await client.createSession({ sessionId: "s", onPermissionRequest: approve });
    await session.sendAndWait("[[echo one]]");
    const row = await rowOf(squadron, "s");
    await age(squadron, "s", day);
    expect(await prune()).toMatchObject({ sessions: [], inUse: 1 });
    expect((await session.sendAndWait("[[count]]"))?.data.content).toBe("2");
    const running = session.sendAndWait("[[hold go]] [[count]]");
    running.catch(() => undefined);
    await eventually(() => squadron.model.holding("go") > 0, { what: "it works" });
    await client.forceStop();
    await age(squadron, "s", day);
    expect(await prune()).toMatchObject({ sessions: [], inUse: 1 });
    squadron.model.release("go");
    const gone = await eventually(
      async () => {
        await age(squadron, "s", day);
        const { sessions } = await prune();
        return sessions.length > 0 && sessions;
      },
      { what: "it is deleted" },
    );
    expect(gone.map(({ id }) => id)).toEqual([row.id]);
    expect(await node.store.state.files({ kind: "session", id: row.id })).toEqual([]);
    expect(await node.store.turns.list(row.id, { limit: 10 })).toEqual([]);
    expect(await httpOf(squadron).call("alice", "GET", `/v1/sessions/${row.publicId}`)).toMatchObject({
      status: 410,
      body: { code: "session_deleted" },
    });
    await eventually(
      async () => {
        const [newest] = await node.store.audit.list({ tenant: "acme", limit: 1 });
        return (
          newest?.action === "session.expire" && newest.user === "squadron" && newest.target === row.publicId
        );
      },
      { what: "the audit trail says so" },
    );
  });

  it("is told of to its owner's other clients, and to nobody else's", async () => {
    await using squadron = await startTestNode();
    const heard: string[] = [];
    for (const user of ["alice", "bob"] as const) {
      const client = squadron.client(user);
      client.onLifecycle("session.deleted", ({ sessionId }) => heard.push(`${user}: ${sessionId}`));
      await client.createSession({ sessionId: "other", onPermissionRequest: approve });
    }
    await httpOf(squadron).call("alice", "POST", "/v1/sessions", { name: "s" });
    await age(squadron, "s", 31 * day);
    expect((await squadron.node.janitor.prune({ dryRun: false, limit: 10 })).sessions).toHaveLength(1);
    await eventually(() => heard.length > 0, { what: "alice hears of it" });
    expect(heard).toEqual(["alice: s"]);
  });
});

describe("a session's own time to live", () => {
  it("is given at its creation and changed later, as a duration or in milliseconds", async () => {
    await using squadron = await startTestNode({ policy: brief });
    const http = httpOf(squadron);
    const made = await http.call("alice", "POST", "/v1/sessions", { name: "s", ttl: "2h" });
    expect(made).toMatchObject({ status: 201, body: { ttlMs: 7_200_000, sizeBytes: 0 } });
    const at = `/v1/sessions/${made.body.id}`;
    await age(squadron, "s", 7_000_000);
    expect((await squadron.node.janitor.prune({ dryRun: true, limit: 10 })).sessions).toEqual([]);
    expect((await http.call("alice", "PATCH", at, { ttl: 60_000 })).body).toMatchObject({ ttlMs: 60_000 });
    expect((await squadron.node.janitor.prune({ dryRun: true, limit: 10 })).sessions).toHaveLength(1);
    expect((await http.call("alice", "PATCH", at, { ttl: null })).body).toMatchObject({ ttlMs: null });
    for (const ttl of ["2 weeks", "1s", 59_999, 1e12, "", true, -1])
      expect(await http.call("alice", "PATCH", at, { ttl }), String(ttl)).toMatchObject({
        status: 400,
        body: { code: "invalid_request" },
      });
    expect((await http.call("alice", "POST", "/v1/sessions", { ttl: "never" })).status).toBe(400);
  });
});

describe("pruning by hand", () => {
  it("is for administrators, of all or of their own tenant", async () => {
    await using squadron = await startTestNode({
      keys: [{ key: new Secret("key-lead"), tenant: "acme", user: "lead", roles: ["tenant-admin"] }],
    });
    const http = httpOf(squadron);
    for (const user of ["alice", "carol"] as const)
      await http.call(user, "POST", "/v1/sessions", { name: "s" });
    const path = "/v1/admin/sessions/prune";
    const asLead = async (body: unknown) => {
      const response = await fetch(`${squadron.baseUrl}${path}`, {
        method: "POST",
        headers: { authorization: "Bearer key-lead", "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    };
    expect((await http.call("alice", "POST", path, {})).status).toBe(403);
    expect((await asLead({ tenant: "globex" })).status).toBe(403);
    expect((await http.call("admin", "POST", path, { unusedFor: "soon" })).status).toBe(400);
    await eventually(
      async () => {
        const { body } = await http.call("admin", "POST", path, { dryRun: true, unusedFor: 0 });
        return (body.sessions as unknown[]).length === 2;
      },
      { what: "both are found" },
    );
    expect((await asLead({ dryRun: true, unusedFor: "0ms" })).body.sessions).toMatchObject([
      { tenant: "acme", owner: "alice" },
    ]);
    const usage = await http.call("admin", "GET", "/v1/admin/usage");
    expect(usage.body.tenants).toMatchObject([
      { tenant: "acme", sessions: 1 },
      { tenant: "globex", sessions: 1 },
    ]);

    const env = { SQUADRON_URL: squadron.baseUrl, SQUADRON_KEY: "key-admin" };
    const cli = (...args: string[]) => runCli(["sessions", ...args], { cwd: squadron.directory, env });
    const dry = await cli("prune", "--dry-run", "--tenant", "globex", "--unused-for", "1ms");
    expect(dry.stdout).toMatch(/globex +carol/);
    expect(dry.stdout).toContain("1 session would be deleted.");
    const done = await cli("prune", "--unused-for", "1ms", "--limit", "1", "--json");
    expect(JSON.parse(done.stdout)).toMatchObject({ sessions: [{ tenant: "acme" }], more: true });
    const listed = await cli("--json");
    expect(JSON.parse(listed.stdout)).toMatchObject([{ tenant: "globex", sizeBytes: 0 }]);
    expect((await cli("prune", "--unused-for", "soon")).code).toBe(2);
  });
});
