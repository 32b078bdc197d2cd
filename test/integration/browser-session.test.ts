import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tempDir } from "../support/temp.ts";
import { startTestNode, type TestNode, users } from "../support/test-node.ts";
import { within } from "../support/wait.ts";

const own = { "sec-fetch-site": "same-origin", "x-squadron-request": "1" };

let squadron: TestNode;
beforeAll(async () => {
  squadron = await startTestNode({ isolation: "shared" });
});
afterAll(() => squadron?.stop());

const call = (
  method: string,
  path: string,
  headers: Record<string, string>,
  body?: unknown,
): Promise<Response> =>
  fetch(`${squadron.baseUrl}${path}`, {
    method,
    headers: { ...(body !== undefined && { "content-type": "application/json" }), ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });

const signIn = async (key: string, headers: Record<string, string> = own): Promise<string> => {
  const response = await call("POST", "/v1/browser-session", headers, { key });
  expect(response.status).toBe(204);
  return response.headers.get("set-cookie")?.split(";")[0] ?? "";
};

describe("a browser that has signed in", () => {
  it("is its key's user, by a cookie that no script, no other site and no store's reader can use", async () => {
    const response = await call("POST", "/v1/browser-session", own, { key: users.alice.key });
    const set = response.headers.get("set-cookie") ?? "";
    expect(set).toMatch(
      /^squadron-\d+=sqd_web_[\w-]{43}; Max-Age=1209600; Path=\/; HttpOnly; SameSite=Strict$/,
    );
    const cookie = set.split(";")[0] ?? "";
    const me = await call("GET", "/v1/me", { ...own, cookie });
    expect(await me.json()).toMatchObject({ tenant: "acme", user: "alice" });
    const made = await call("POST", "/v1/sessions", { ...own, cookie }, {});
    expect(made.status).toBe(201);
    const looked = async (headers: Record<string, string>): Promise<unknown> => {
      const response = await call("GET", "/v1/browser-session", headers);
      return [response.status, await response.json()];
    };
    expect(await looked({ ...own, cookie })).toEqual([
      200,
      { signedInAs: { tenant: "acme", user: "alice" } },
    ]);
    // Nobody is asked for a key, and no other site learns who it is.
    for (const headers of [
      {},
      own,
      { ...own, cookie: `${cookie}x` },
      { "sec-fetch-site": "cross-site", cookie },
      { "sec-fetch-site": "same-site", cookie },
    ])
      expect(await looked(headers)).toEqual([200, { signedInAs: null }]);
    // What stands in the store is no token.
    const [, token = ""] = cookie.split("=");
    const hash = createHash("sha256").update(token).digest("hex");
    expect(await squadron.node.store.browserSessions.byHash(hash)).toMatchObject({ user: "alice" });
    const stolen = cookie.replace(token, hash);
    expect((await call("GET", "/v1/me", { ...own, cookie: stolen })).status).toBe(401);
  });

  it("gets a cookie for HTTPS alone when its page was got by HTTPS", async () => {
    const host = new URL(squadron.baseUrl).host;
    const headers = { origin: `https://${host}`, "x-squadron-request": "1" };
    const response = await call("POST", "/v1/browser-session", headers, { key: users.alice.key });
    expect(response.headers.get("set-cookie")).toMatch(/; Secure$/);
  });

  it("does nothing for a request that another site has caused", async () => {
    const cookie = await signIn(users.alice.key);
    const host = new URL(squadron.baseUrl).host;
    const hostile: Record<string, string>[] = [
      // No mark: a form, an image, a link of another site can send all the rest.
      { "sec-fetch-site": "same-origin" },
      { origin: `http://${host}` },
      {},
      // A browser that says so.
      { "sec-fetch-site": "cross-site", "x-squadron-request": "1" },
      { "sec-fetch-site": "same-site", "x-squadron-request": "1" },
      { "sec-fetch-site": "none", "x-squadron-request": "1" },
      { "sec-fetch-site": "cross-site", origin: `http://${host}`, "x-squadron-request": "1" },
      { origin: "https://evil.example", "x-squadron-request": "1" },
      { origin: "null", "x-squadron-request": "1" },
      { origin: `http://${host}.evil.example`, "x-squadron-request": "1" },
    ];
    for (const headers of hostile) {
      const made = await call("POST", "/v1/sessions", { ...headers, cookie }, { name: "stolen" });
      expect([headers, made.status]).toEqual([headers, 401]);
      const out = await call("DELETE", "/v1/browser-session", { ...headers, cookie });
      expect([headers, out.status]).toEqual([headers, 403]);
      const login = await call("POST", "/v1/browser-session", headers, { key: users.bob.key });
      expect([headers, login.status, login.headers.get("set-cookie")]).toEqual([headers, 403, null]);
    }
    const form = await fetch(`${squadron.baseUrl}/v1/sessions`, {
      method: "POST",
      headers: { cookie, ...own, "content-type": "application/x-www-form-urlencoded" },
      body: "name=stolen",
    });
    expect(form.status).toBe(400);
    for (const headers of [{ "sec-fetch-site": "cross-site" }, { "sec-fetch-site": "none" }, {}])
      expect((await call("GET", "/v1/sessions", { ...headers, cookie })).status).toBe(401);
    const preflight = await call("OPTIONS", "/v1/sessions", {
      origin: "https://evil.example",
      "access-control-request-method": "POST",
      "access-control-request-headers": "x-squadron-request",
    });
    expect(preflight.headers.get("access-control-allow-origin")).toBeNull();
    expect(preflight.headers.get("access-control-allow-headers")).toBeNull();
    const listed = await call("GET", "/v1/sessions", { "sec-fetch-site": "same-origin", cookie });
    expect(JSON.stringify(await listed.json())).not.toContain("stolen");
  });

  it("is asked for its key when the request has one", async () => {
    const cookie = await signIn(users.alice.key);
    const withKey = await call("GET", "/v1/me", { ...own, cookie, authorization: `Bearer ${users.bob.key}` });
    expect(await withKey.json()).toMatchObject({ user: "bob" });
    const wrong = await call("GET", "/v1/me", { ...own, cookie, authorization: "Bearer wrong" });
    expect(wrong.status).toBe(401);
  });

  it("is not signed in any more after it has signed out, nor is its event stream", async () => {
    const cookie = await signIn(users.alice.key);
    const kept = await signIn(users.alice.key);
    const made = await call("POST", "/v1/sessions", { ...own, cookie }, {});
    const { id } = (await made.json()) as { id: string };
    const stream = await call("GET", `/v1/sessions/${id}/events`, {
      "sec-fetch-site": "same-origin",
      cookie,
    });
    expect(stream.status).toBe(200);
    const out = await call("DELETE", "/v1/browser-session", { ...own, cookie });
    expect(out.status).toBe(204);
    expect(out.headers.get("set-cookie")).toMatch(/^squadron-\d+=; Max-Age=0;/);
    const told = await within(stream.text(), { what: "the end of the stream" });
    expect(told).toMatch(/event: stream\.closed\ndata: \{"code":"unauthenticated"/);
    expect((await call("GET", "/v1/me", { ...own, cookie })).status).toBe(401);
    expect((await call("GET", "/v1/me", { ...own, cookie: kept })).status).toBe(200);
  });

  it("reads no stream with a ticket from before it signed out", async () => {
    const cookie = await signIn(users.alice.key);
    const made = await call("POST", "/v1/sessions", { ...own, cookie }, {});
    const { id } = (await made.json()) as { id: string };
    const got = await call("POST", `/v1/sessions/${id}/events/ticket`, { ...own, cookie }, {});
    const { url } = (await got.json()) as { url: string };
    const stream = await call("GET", url, {});
    expect(stream.status).toBe(200);
    await call("DELETE", "/v1/browser-session", { ...own, cookie });
    expect(await within(stream.text(), { what: "the end of the stream" })).toContain("unauthenticated");
    expect((await call("GET", url, {})).status).toBe(401);
  });

  it("that signs in as somebody else is signed in as them alone", async () => {
    const cookie = await signIn(users.alice.key);
    const next = await signIn(users.bob.key, { ...own, cookie });
    expect(await (await call("GET", "/v1/me", { ...own, cookie: next })).json()).toMatchObject({
      user: "bob",
    });
    expect((await call("GET", "/v1/me", { ...own, cookie })).status).toBe(401);
  });

  it("is not signed in any more when its key is revoked", async () => {
    const made = await squadron.fetch("admin", "/v1/admin/keys", {
      method: "POST",
      body: JSON.stringify({ tenant: "acme", user: "dora" }),
    });
    const { id, key } = (await made.json()) as { id: string; key: string };
    const cookie = await signIn(key);
    expect((await call("GET", "/v1/me", { ...own, cookie })).status).toBe(200);
    await squadron.fetch("admin", `/v1/admin/keys/${id}`, { method: "DELETE", headers: {} });
    expect((await call("GET", "/v1/me", { ...own, cookie })).status).toBe(401);
  });

  it("cannot be had by guessing without end", async () => {
    await using small = await startTestNode({ isolation: "shared" });
    const attempt = async (key: string): Promise<number> => {
      const headers = { ...own, "content-type": "application/json" };
      const init = { method: "POST", headers, body: JSON.stringify({ key }) };
      return (await fetch(`${small.baseUrl}/v1/browser-session`, init)).status;
    };
    for (let at = 0; at < 25; at++) expect(await attempt(users.alice.key)).toBe(204);
    const seen: number[] = [];
    for (let at = 0; at < 10; at++) seen.push(await attempt(`guess-${at}`));
    // However many at once.
    seen.push(...(await Promise.all(Array.from({ length: 15 }, (_, at) => attempt(`guess-${at + 10}`)))));
    expect(seen.toSorted()).toEqual([...Array(20).fill(401), ...Array(5).fill(429)]);
    expect(await attempt(users.alice.key)).toBe(429);
  });

  it("stays signed in when the node starts again", async () => {
    await using place = await tempDir("browser-session");
    const options = { isolation: "shared", directory: place.path } as const;
    const headers = { ...own, "content-type": "application/json" };
    const body = JSON.stringify({ key: users.alice.key });
    const first = await startTestNode(options);
    const response = await fetch(`${first.baseUrl}/v1/browser-session`, { method: "POST", headers, body });
    await first.stop();
    await using next = await startTestNode(options);
    // The port is part of the cookie's name, and the next node has another one here.
    const cookie = (response.headers.get("set-cookie")?.split(";")[0] ?? "").replace(
      /^squadron-\d+/,
      `squadron-${new URL(next.baseUrl).port}`,
    );
    const me = await fetch(`${next.baseUrl}/v1/me`, { headers: { ...own, cookie } });
    expect(await me.json()).toMatchObject({ user: "alice" });
  });
});
