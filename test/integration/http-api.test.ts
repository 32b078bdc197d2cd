import { Validator } from "@seriousme/openapi-schema-validator";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildHttpApp } from "../../src/http/http.ts";
import { systemClock } from "../../src/kernel/clock.ts";
import { SquadronError } from "../../src/kernel/errors.ts";
import { Secret } from "../../src/kernel/secret.ts";
import { type HttpAnswer, httpOf } from "../support/http-client.ts";
import { startTestNode, type TestNode, type UserName } from "../support/test-node.ts";
import { eventually, within } from "../support/wait.ts";

let squadron: TestNode;
beforeAll(async () => {
  squadron = await startTestNode({
    isolation: "shared",
    allow: { models: ["scripted-1"] },
    limits: { queueLength: 1 },
    keys: [{ key: new Secret("key-chief"), tenant: "acme", user: "chief", roles: ["user", "tenant-admin"] }],
  });
});
afterAll(async () => {
  await squadron?.stop();
});

const call = (user: UserName, method: string, path: string, body?: unknown): Promise<HttpAnswer> =>
  httpOf(squadron).call(user, method, path, body);

const withKey = async (key: string, method: string, path: string, body?: unknown): Promise<HttpAnswer> => {
  const response = await squadron.fetch("alice", path, {
    method,
    headers: { authorization: `Bearer ${key}` },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === "" ? {} : JSON.parse(text) };
};

describe("errors", () => {
  test("are problem documents with a code and the request's id", async () => {
    const response = await squadron.fetch("alice", "/v1/nothing?secret=1", {
      headers: { "x-request-id": "my-id-1" },
    });
    expect(response.status).toBe(404);
    expect(response.headers.get("content-type")).toBe("application/problem+json; charset=utf-8");
    expect(response.headers.get("x-request-id")).toBe("my-id-1");
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(await response.json()).toEqual({
      type: "/docs#error-not_found",
      title: "Not Found",
      status: 404,
      detail: expect.any(String),
      code: "not_found",
      details: {},
      instance: "/v1/nothing",
      requestId: "my-id-1",
    });
  });

  test("a request id that is no plain word is replaced", async () => {
    const response = await squadron.fetch("alice", "/v1/me", { headers: { "x-request-id": "a b\tc" } });
    expect(response.headers.get("x-request-id")).toMatch(/^req_[0-9a-f]{32}$/);
  });

  test.each([undefined, "", "Bearer", "Bearer wrong", "Basic a2V5LWFsaWNl", "Bearer key-alice key-bob"])(
    "401 for the authorization %o, on every route of the API, before anything is read",
    async (authorization) => {
      for (const [method, path] of [
        ["GET", "/v1/me"],
        ["POST", "/v1/prompts"],
        ["GET", "/v1/admin/keys"],
      ] as const) {
        const response = await fetch(`${squadron.baseUrl}${path}`, {
          method,
          headers: authorization === undefined ? {} : { authorization },
          ...(method === "POST" && { body: "{" }),
        });
        expect(response.status).toBe(401);
        expect(response.headers.get("www-authenticate")).toBe('Bearer realm="squadron"');
        expect(await response.json()).toMatchObject({ code: "unauthenticated" });
      }
    },
  );

  test.each<[string, string, unknown, string, string]>([
    ["POST", "/v1/prompts", undefined, "body", "prompt"],
    ["POST", "/v1/prompts", {}, "body", "prompt"],
    ["POST", "/v1/prompts", { prompt: 1 }, "body", "prompt"],
    ["POST", "/v1/prompts", { prompt: "x", tools: [] }, "body", "tools"],
    [
      "POST",
      "/v1/prompts",
      { prompt: "x", attachments: [{ type: "blob", data: "%", mimeType: "a" }] },
      "body",
      "attachments.0.data",
    ],
    ["POST", "/v1/sessions", { visibility: "public" }, "body", "visibility"],
    ["POST", "/v1/sessions", { systemMessage: 5 }, "body", "systemMessage"],
    ["POST", "/v1/sessions", { name: "" }, "body", "name"],
    ["GET", "/v1/sessions?limit=1000", undefined, "querystring", "limit"],
    ["GET", "/v1/sessions?state=dead", undefined, "querystring", "state"],
    ["GET", "/v1/sessions?colour=red", undefined, "querystring", "colour"],
  ])("400 of %s %s with %o names the field", async (method, path, body, place, field) => {
    expect(await call("alice", method, path, body)).toMatchObject({
      status: 400,
      body: { code: "invalid_request", details: { in: place, field } },
    });
  });

  test("of a body that is no JSON, too large, or of another type", async () => {
    const post = async (body: string, type = "application/json") => {
      const response = await squadron.fetch("alice", "/v1/prompts", {
        method: "POST",
        body,
        headers: { "content-type": type },
      });
      return { status: response.status, body: await response.json() };
    };
    expect(await post("{")).toMatchObject({ status: 400, body: { code: "parse_error" } });
    expect(await post('{"prompt":"x","__proto__":{}}')).toMatchObject({ status: 400 });
    for (const type of ["text/plain", "application/x-www-form-urlencoded"]) {
      expect(await post('{"prompt":"x"}', type)).toMatchObject({
        status: 400,
        body: {
          code: "invalid_request",
          detail: expect.stringContaining("curl: -H 'Content-Type: application/json'"),
        },
      });
    }
    expect(await post(JSON.stringify({ prompt: "x".repeat(34 * 1024 * 1024) }))).toMatchObject({
      status: 413,
      body: { code: "too_large" },
    });
  });

  test("of an address that is none", async () => {
    const response = await squadron.fetch("alice", "/v1/sessions/%E0%A4%A");
    expect(response.headers.get("content-type")).toContain("application/problem+json");
    expect([response.status, await response.json()]).toMatchObject([400, { code: "invalid_request" }]);
  });

  test("a session needs no body at all, with or without a type", async () => {
    for (const headers of [{ "content-type": "application/json" }, {}]) {
      const response = await fetch(`${squadron.baseUrl}/v1/sessions`, {
        method: "POST",
        headers: { authorization: "Bearer key-alice", ...headers },
      });
      expect(response.status).toBe(201);
      expect(response.headers.get("location")).toMatch(/^\/v1\/sessions\/ses_/);
    }
  });

  test("a model that the policy does not allow is 403, and nothing is made", async () => {
    const answer = await call("alice", "POST", "/v1/sessions", { name: "denied", model: "other-model" });
    expect(answer).toMatchObject({ status: 403, body: { code: "model_denied" } });
    expect(JSON.stringify((await call("alice", "GET", "/v1/sessions")).body)).not.toContain("denied");
  });

  test("a full queue is 429 with Retry-After", async () => {
    const { id } = (await call("alice", "POST", "/v1/sessions")).body;
    const say = (prompt: string) =>
      call("alice", "POST", `/v1/sessions/${id}/messages?wait=false`, { prompt });
    expect((await say("[[hold full]] [[echo a]]")).status).toBe(202);
    expect((await say("[[echo b]]")).status).toBe(202);
    const refused = await say("[[echo c]]");
    expect(refused).toMatchObject({ status: 429, body: { code: "queue_full", details: { limit: 1 } } });
    expect(refused.headers.get("retry-after")).toMatch(/^\d+$/);
    await eventually(() => squadron.model.holding("full") > 0, { what: "the first turn runs" });
    squadron.model.release("full");
  });
});

describe("what the API says about itself", () => {
  test("the OpenAPI document is valid and has every route", async () => {
    const document = (await (await fetch(`${squadron.baseUrl}/openapi.json`)).json()) as {
      paths: Record<string, Record<string, unknown>>;
      components: { schemas: Record<string, unknown> };
    };
    expect(await new Validator().validate(structuredClone(document))).toMatchObject({ valid: true });
    expect(Object.keys(document.components.schemas).filter((name) => name.endsWith("Input"))).toEqual([]);
    const routes = Object.entries(document.paths).flatMap(([path, item]) =>
      Object.keys(item).map((method) => `${method} ${path}`),
    );
    expect(routes.toSorted()).toEqual(
      [
        "post /v1/prompts",
        "post /v1/sessions",
        "get /v1/sessions",
        "get /v1/sessions/{id}",
        "patch /v1/sessions/{id}",
        "delete /v1/sessions/{id}",
        "post /v1/sessions/{id}/messages",
        "get /v1/sessions/{id}/messages",
        "post /v1/sessions/{id}/abort",
        "get /v1/sessions/{id}/turns",
        "get /v1/sessions/{id}/turns/{turnId}",
        "post /v1/sessions/{id}/turns/{turnId}/abort",
        "get /v1/sessions/{id}/queue",
        "get /v1/sessions/{id}/events",
        "post /v1/sessions/{id}/events/ticket",
        "get /v1/sessions/{id}/requests",
        "post /v1/sessions/{id}/requests/{requestId}",
        "get /v1/sessions/{id}/participants",
        "put /v1/sessions/{id}/participants/{user}",
        "delete /v1/sessions/{id}/participants/{user}",
        "get /v1/sessions/{id}/invites",
        "post /v1/sessions/{id}/invites",
        "delete /v1/sessions/{id}/invites/{inviteId}",
        "post /v1/invites/accept",
        "post /v1/sessions/{id}/typing",
        "get /v1/browser-session",
        "post /v1/browser-session",
        "delete /v1/browser-session",
        "get /v1/me",
        "get /v1/models",
        "get /v1/admin/runtimes",
        "post /v1/admin/drain",
        "get /v1/admin/sessions",
        "post /v1/admin/sessions/prune",
        "get /v1/admin/usage",
        "get /v1/admin/keys",
        "post /v1/admin/keys",
        "delete /v1/admin/keys/{id}",
        "get /v1/admin/audit",
        "get /healthz",
        "get /readyz",
        "get /metrics",
      ].toSorted(),
    );
  });

  test("the docs page names every route and error, and its policy lets nothing in", async () => {
    const response = await fetch(`${squadron.baseUrl}/docs`);
    const page = await response.text();
    const { paths } = (await (await fetch(`${squadron.baseUrl}/openapi.json`)).json()) as {
      paths: Record<string, Record<string, { summary: string }>>;
    };
    const missing = Object.entries(paths).flatMap(([path, item]) =>
      Object.values(item)
        .map(({ summary }) => `<code>${path}</code><span>${summary}</span>`)
        .filter((entry) => !page.includes(entry)),
    );
    expect(missing).toEqual([]);
    for (const word of [
      'id="error-session_not_found"',
      "text/event-stream",
      "<td><code>attachments[].mimeType</code></td><td>string, 1 to 200 characters, required</td>",
      '<a href="#schema-TurnAnswer">TurnAnswer</a>',
    ]) {
      expect(page).toContain(word);
    }
    expect(page).toContain(`curl ${squadron.baseUrl}/v1/prompts`);
    expect(page.replaceAll(squadron.baseUrl, "")).not.toMatch(/<script|https?:\/\//);
    expect(response.headers.get("content-security-policy")).toMatch(
      /^default-src 'none'; style-src 'sha256-/,
    );
    expect((await fetch(`${squadron.baseUrl}/v1/me`)).headers.get("content-security-policy")).toBe(
      "default-src 'none';frame-ancestors 'none'",
    );
  });

  test("no page of another origin may read anything", async () => {
    const response = await squadron.fetch("alice", "/v1/me", { headers: { origin: "https://evil.example" } });
    expect(response.headers.get("access-control-allow-origin")).toBeNull();
    expect((await squadron.fetch("alice", "/v1/me", { method: "OPTIONS" })).status).toBe(404);
  });
});

test("health, readiness and metrics need no key on loopback; metrics count by the route's pattern", async () => {
  for (const path of ["/healthz", "/readyz"]) {
    const response = await fetch(`${squadron.baseUrl}${path}`);
    expect([response.status, await response.json()]).toEqual([200, { status: "ok" }]);
  }
  await call("alice", "GET", "/v1/sessions/ses_unknown");
  const text = await (await fetch(`${squadron.baseUrl}/metrics`)).text();
  expect(text).toContain(
    'squadron_http_request_duration_seconds_count{method="GET",route="/v1/sessions/:id",status="404"}',
  );
  expect(text).not.toContain("ses_unknown");
});

test("on an address that others can reach, metrics need an admin's key; a node that closes is not ready", async () => {
  const closing = new AbortController();
  const context = {
    ...squadron.node,
    clock: systemClock,
    drainTimeoutMs: 1_000,
    idempotencyTtlMs: 60_000,
    closing: closing.signal,
    working: new Set<Promise<unknown>>(),
  };
  const app = await buildHttpApp(context, { metricsNeedKey: true });
  const get = async (url: string, key?: string) =>
    (await app.inject({ url, headers: key === undefined ? {} : { authorization: `Bearer ${key}` } }))
      .statusCode;
  expect([
    await get("/metrics"),
    await get("/metrics", "key-alice"),
    await get("/metrics", "key-admin"),
  ]).toEqual([401, 403, 200]);
  expect(await get("/readyz")).toBe(200);
  closing.abort(new SquadronError("draining", "bye"));
  expect([await get("/readyz"), await get("/healthz")]).toEqual([503, 200]);
  await app.close();
});

test("a user sees who they are and which models they may use", async () => {
  expect((await call("alice", "GET", "/v1/me")).body).toEqual({
    tenant: "acme",
    user: "alice",
    roles: ["user"],
    keyId: expect.any(String),
  });
  expect((await call("alice", "GET", "/v1/models")).body).toEqual({
    models: [{ id: "scripted-1", name: "scripted-1" }],
  });
});

describe("administration", () => {
  test("is closed to ordinary users", async () => {
    for (const path of ["runtimes", "sessions", "keys", "audit"]) {
      expect(await call("alice", "GET", `/v1/admin/${path}`)).toMatchObject({
        status: 403,
        body: { code: "forbidden" },
      });
    }
    expect(await call("alice", "POST", "/v1/admin/keys", { user: "alice", roles: ["admin"] })).toMatchObject({
      status: 403,
    });
    expect(await withKey("key-chief", "GET", "/v1/admin/runtimes")).toMatchObject({ status: 403 });
  });

  test("a key works until it is revoked, and is shown once", async () => {
    const made = await call("admin", "POST", "/v1/admin/keys", {
      tenant: "globex",
      user: "dora",
      label: "test",
    });
    expect(made).toMatchObject({
      status: 201,
      body: { tenant: "globex", user: "dora", roles: ["user"], label: "test", revokedAt: null },
    });
    const key = String(made.body.key);
    expect((await withKey(key, "GET", "/v1/me")).body).toMatchObject({
      tenant: "globex",
      user: "dora",
      keyId: made.body.id,
    });
    const listed = await call("admin", "GET", "/v1/admin/keys?tenant=globex");
    expect(listed.body.keys).toMatchObject([{ id: made.body.id, user: "dora" }]);
    expect(JSON.stringify(listed.body)).not.toContain(key);
    expect((await call("admin", "DELETE", `/v1/admin/keys/${made.body.id}`)).status).toBe(204);
    expect(await call("admin", "DELETE", `/v1/admin/keys/${made.body.id}`)).toMatchObject({
      status: 404,
      body: { code: "not_found" },
    });
    expect((await withKey(key, "GET", "/v1/me")).status).toBe(401);
    await eventually(
      async () => JSON.stringify((await call("admin", "GET", "/v1/admin/audit")).body).includes("key.revoke"),
      { what: "the audit has the revocation" },
    );
  });

  test("a tenant-admin administers their tenant and nothing else", async () => {
    const foreign = await call("admin", "POST", "/v1/admin/keys", { tenant: "globex", user: "eve" });
    await call("carol", "POST", "/v1/sessions", { name: "foreign" });
    await call("alice", "POST", "/v1/sessions", { name: "seen" });
    const chief = (method: string, path: string, body?: unknown) =>
      withKey("key-chief", method, `/v1/admin/${path}`, body);
    expect(await chief("POST", "keys", { user: "new" })).toMatchObject({
      status: 201,
      body: { tenant: "acme" },
    });
    for (const body of [
      { user: "x", tenant: "globex" },
      { user: "x", roles: ["admin"] },
    ]) {
      expect(await chief("POST", "keys", body)).toMatchObject({ status: 403, body: { code: "forbidden" } });
    }
    expect(await chief("DELETE", `keys/${foreign.body.id}`)).toMatchObject({
      status: 404,
      body: { code: "not_found" },
    });
    for (const path of ["keys", "sessions", "audit"]) {
      expect(await chief("GET", `${path}?tenant=globex`)).toMatchObject({ status: 403 });
      expect(JSON.stringify((await chief("GET", path)).body)).not.toContain("globex");
    }
    expect(JSON.stringify((await call("admin", "GET", "/v1/admin/sessions")).body)).toContain("globex");
    expect((await chief("GET", "sessions")).body.sessions).toContainEqual(
      expect.objectContaining({ tenant: "acme", owner: "alice" }),
    );
  });

  test("an admin sees the runtimes", async () => {
    expect((await call("admin", "GET", "/v1/admin/runtimes")).body.runtimes).toMatchObject([
      { unitKey: "shared", state: "ready", pid: expect.any(Number) },
    ]);
  });
});

test("a node that closes ends waits and streams, and says why", async () => {
  await using node = await startTestNode({ isolation: "shared" });
  const http = httpOf(node);
  const [first, second] = await Promise.all(
    [1, 2].map(async () => (await http.call("alice", "POST", "/v1/sessions")).body.id),
  );
  const streamed = http.events("alice", `/v1/sessions/${first}/messages`, {
    prompt: "[[hold closing]] [[echo a]]",
  });
  const waiting = http.call("alice", "POST", `/v1/sessions/${second}/messages`, {
    prompt: "[[hold closing]] [[echo a]]",
  });
  await eventually(() => node.model.holding("closing") === 2, { what: "both turns run" });
  await within(node.node.close(), { what: "the node closes" });
  expect((await streamed).at(-1)).toMatchObject({
    event: "turn.interrupted",
    data: { code: "turn_interrupted" },
  });
  expect(await waiting).toMatchObject({ status: 503, body: { code: "turn_interrupted" } });
});
