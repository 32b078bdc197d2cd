import { createServer } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "../../support/wait.ts";
import { bodyOf, type GatewayOptions, gatewayIn, modelUrl, routeTo, startGateway } from "./pipe.ts";
import { deadPort, sse, startProvider } from "./servers.ts";

const chatEvents = [
  { id: "c", choices: [{ delta: { content: "hello" } }], usage: null },
  {
    id: "c",
    choices: [],
    usage: { prompt_tokens: 7, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 2 } },
  },
];

let stack: AsyncDisposableStack;
beforeEach(() => {
  stack = new AsyncDisposableStack();
});
afterEach(() => stack.disposeAsync());

const gatewayWith = (options: GatewayOptions) => gatewayIn(stack, options);
const providerWith = async (...args: Parameters<typeof startProvider>) =>
  stack.use(await startProvider(...args));

describe("a model call over HTTP", () => {
  test("streams the answer, puts the real key in and counts the tokens", async () => {
    const provider = await providerWith((_, response) => sse(response, chatEvents));
    const { call, usage } = gatewayWith({ routes: [routeTo(`${provider.url}/real/v9`)] });
    const got = await call(modelUrl, { model: "m1", stream: true });
    expect(got.status).toBe(200);
    expect(bodyOf(got)).toBe(
      `${chatEvents.map((e) => `data: ${JSON.stringify(e)}\n\n`).join("")}data: [DONE]\n\n`,
    );
    expect(provider.seen[0]?.url).toBe("/real/v9/chat/completions");
    expect(provider.seen[0]?.headers.authorization).toBe("Bearer sk-real-key-123456");
    expect(provider.seen[0]?.headers["accept-encoding"]).toBe("identity");
    expect(got.headers).toEqual({ "content-type": ["text/event-stream"], "x-request-id": ["r1"] });
    expect(usage).toEqual([
      { sessionId: "s1", usage: { inputTokens: 7, outputTokens: 3, cachedTokens: 2, model: "m1" } },
    ]);
  });

  test("bytes pass as they are, also those that are no text", async () => {
    const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, i) => (i * 31) & 255));
    const provider = await providerWith((_, response) => {
      response.writeHead(200, { "content-type": "application/octet-stream" }).end(bytes);
    });
    const { call } = gatewayWith({ routes: [routeTo(provider.url)] });
    expect(Buffer.concat((await call(modelUrl)).chunks).equals(bytes)).toBe(true);
  });

  test("the body may come in pieces, in base64, and before the head", async () => {
    const provider = await providerWith((_, response) => sse(response, []));
    const { gateway, runtime, finished } = gatewayWith({
      routes: [routeTo(provider.url)],
      allowModels: ["m*"],
    });
    const chunk = (data: string, more: object) =>
      gateway.httpRequestChunk(runtime, { requestId: "r", data, ...more });
    await chunk(Buffer.from('{"model":').toString("base64"), { binary: true });
    await gateway.httpRequestStart(runtime, { requestId: "r", method: "POST", url: modelUrl, headers: {} });
    await chunk('"m1","x":"ü"', {});
    await chunk("}", { end: true });
    expect((await finished("r")).status).toBe(200);
    expect(provider.seen[0]?.body).toBe('{"model":"m1","x":"ü"}');
  });

  test("a model that is not on the list reaches no provider and is not worth a retry", async () => {
    const provider = await providerWith((_, response) => sse(response, []));
    const { call } = gatewayWith({ routes: [routeTo(provider.url)], allowModels: ["gpt-*-mini", "o3"] });
    const got = await call(modelUrl, { model: "gpt-5" });
    expect(got.status).toBe(400);
    expect(JSON.parse(bodyOf(got)).error).toMatchObject({ code: "model_denied" });
    expect(bodyOf(got)).toContain("gpt-5");
    expect((await call(modelUrl, { messages: [] })).status).toBe(400);
    expect((await call(modelUrl, "no json")).status).toBe(400);
    expect(provider.seen).toHaveLength(0);
    expect((await call(modelUrl, { model: "gpt-5-mini" })).status).toBe(200);
    expect((await call(modelUrl, { a: 1, model: "o3" })).status).toBe(200);
  });

  test("without a grant or a route nothing is called", async () => {
    const provider = await providerWith((_, response) => sse(response, []));
    const ungranted = gatewayWith({ routes: [routeTo(provider.url)], granted: false });
    expect((await ungranted.call(modelUrl)).error?.code).toBe("model_denied");
    const { call, lines } = gatewayWith({ routes: [routeTo(provider.url)] });
    for (const url of [
      "http://models.squadron.internal/v10/chat/completions",
      "http://models.squadron.internal/v1/../admin",
      "http://models.squadron.internal/v1@127.0.0.1/",
      `${provider.url}/chat/completions`,
      "no url",
    ]) {
      expect((await call(url)).error?.code, url).toBe("model_denied");
    }
    expect(lines.filter((line) => line.message === "A model call was denied.")).toHaveLength(5);
    expect(provider.seen).toHaveLength(0);
  });

  test("a provider's error keeps its status and a known code, and nothing else of it", async () => {
    const text = "Incorrect API key provided: sk-real-key-123456 for org-SECRET at https://real.example";
    const provider = await providerWith((_, response) => {
      response
        .writeHead(401, {
          "content-type": "application/json",
          "retry-after": "7",
          "openai-organization": "org-SECRET",
        })
        .end(JSON.stringify({ error: { message: text, type: "org-SECRET", code: "invalid_api_key" } }));
    });
    const { call, lines } = gatewayWith({ routes: [routeTo(provider.url)] });
    const got = await call(modelUrl);
    expect(got.status).toBe(401);
    expect(got.headers).toEqual({ "content-type": ["application/json"], "retry-after": ["7"] });
    expect(JSON.parse(bodyOf(got))).toEqual({
      error: {
        message: "The model provider refused the server's credential.",
        type: "authentication_error",
        code: "invalid_api_key",
      },
    });
    const logged = JSON.stringify(lines);
    expect(logged).toContain("org-SECRET");
    expect(logged).not.toContain("sk-real");
  });

  test("a redirect is not followed and its target is not shown", async () => {
    const provider = await providerWith((_, response) => {
      response.writeHead(302, { location: "http://169.254.169.254/" }).end("see http://169.254.169.254/");
    });
    const { call } = gatewayWith({ routes: [routeTo(provider.url)] });
    const got = await call(modelUrl);
    expect(got.status).toBe(302);
    expect(JSON.stringify(got.headers) + bodyOf(got)).not.toContain("169.254");
  });

  test("GitHub's own API gets the runtime's token and answers for itself", async () => {
    const provider = await providerWith((_, response) => {
      response
        .writeHead(402, { "content-type": "application/json", "x-quota-snapshot-chat": "q" })
        .end('{"own":1}');
    });
    const route = routeTo(provider.url, { headers: {}, passCredentials: ["authorization"], verbatim: true });
    const { call } = gatewayWith({ routes: [route] });
    const headers = { authorization: ["Bearer gho_user"], "x-api-key": ["dropped"], cookie: ["dropped"] };
    const got = await call(modelUrl, { model: "m1" }, { headers });
    expect(got.status).toBe(402);
    expect(bodyOf(got)).toBe('{"own":1}');
    expect(got.headers["x-quota-snapshot-chat"]).toEqual(["q"]);
    expect(provider.seen[0]?.headers).toMatchObject({ authorization: "Bearer gho_user" });
    expect(provider.seen[0]?.headers["x-api-key"]).toBeUndefined();
    expect(provider.seen[0]?.headers.cookie).toBeUndefined();
  });

  test("cancel closes the call at the provider", async () => {
    const provider = await providerWith((_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).write("data: {}\n\n");
    });
    const { start, send, pipe } = gatewayWith({ routes: [routeTo(provider.url)] });
    const id = await start(modelUrl);
    await send(id, '{"model":"m1"}');
    await eventually(() => pipe.known(id).chunks.length > 0, { what: "the first bytes" });
    expect(provider.seen[0]?.closed).toBe(false);
    await send(id, "", { cancel: true });
    await eventually(() => provider.seen[0]?.closed, { what: "the provider sees the end" });
    expect(pipe.known(id).ended).toBe(false);
  });

  test("an error inside a stream is scrubbed, what came before it passes", async () => {
    const provider = await providerWith((_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
      response.write('data: {"choices":[]}\n\ndata: {"err');
      response.end('or":{"code":"server_error","message":"org-SECRET"}}\n\n');
    });
    const { start, send, pipe, finished } = gatewayWith({ routes: [routeTo(provider.url)] });
    const id = await start(modelUrl);
    await send(id, '{"model":"m1"}');
    await finished(id);
    const body = bodyOf(pipe.known(id));
    expect(body).toContain('data: {"choices":[]}\n\n');
    expect(body).toContain('"code":"server_error"');
    expect(body).not.toContain("SECRET");
  });

  test("a closed runtime and an answer that nobody takes end the call at the provider", async () => {
    const provider = await providerWith((_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).write("data: {}\n\n");
    });
    const { start, send, pipe, gateway } = gatewayWith({ routes: [routeTo(provider.url)] });
    const first = await start(modelUrl);
    await send(first, '{"model":"m1"}');
    await eventually(() => pipe.known(first).chunks.length > 0, { what: "the first bytes" });
    gateway.runtimeClosed("runtime-1");
    await eventually(() => provider.seen[0]?.closed, { what: "the provider sees the end" });
    pipe.accepted = false;
    await send(await start(modelUrl), '{"model":"m1"}');
    await eventually(() => provider.seen[1]?.closed, { what: "the provider sees the second end" });
  });

  test("a runtime that reads slowly slows the provider down", async () => {
    let written = 0;
    const block = Buffer.alloc(64 * 1024);
    const provider = await providerWith((_, response) => {
      response.writeHead(200, { "content-type": "application/octet-stream" });
      const more = () => {
        while (written < 64 * 1024 * 1024) {
          written += block.length;
          if (!response.write(block)) return void response.once("drain", more);
        }
        response.end();
      };
      more();
    });
    const { start, send, pipe, finished } = gatewayWith({ routes: [routeTo(provider.url)] });
    const { promise, resolve } = Promise.withResolvers<void>();
    pipe.hold = promise;
    const id = await start(modelUrl);
    await send(id, '{"model":"m1"}');
    let last = -1;
    // Quiet for a while: it has stopped by itself.
    let quiet = 0;
    await eventually(
      () => {
        quiet = written === last && written > 0 ? quiet + 1 : 0;
        last = written;
        return quiet > 40;
      },
      { what: "the provider is held back" },
    );
    expect(written).toBeLessThan(32 * 1024 * 1024);
    pipe.hold = undefined;
    resolve();
    expect(Buffer.concat((await finished(id)).chunks)).toHaveLength(64 * 1024 * 1024);
    expect(pipe.most).toBe(1);
  });

  test("a provider that falls silent, or cuts the answer, is a failure without an address", async () => {
    const provider = await providerWith((seen, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: {}\n\n", () => seen.url.includes("cut") && response.destroy());
    });
    const { call } = gatewayWith({ routes: [routeTo(provider.url)], idleTimeoutMs: 300 });
    const silent = await call(modelUrl);
    expect(silent.error).toEqual({
      code: "provider_silent",
      message: "The model provider was silent for too long.",
    });
    const cut = await call("http://models.squadron.internal/v1/cut");
    expect(cut.error?.code).toBe("provider_connection_lost");
    expect(cut.error?.message).not.toContain("127.0.0.1");
  });

  test("a refused connection is tried again, and only so often", async () => {
    const port = await deadPort();
    const { call, start, send, finished } = gatewayWith({
      routes: [routeTo(`http://127.0.0.1:${port}`)],
      retries: 2,
    });
    const began = performance.now();
    const got = await call(modelUrl);
    expect(got.error).toEqual({
      code: "provider_unreachable",
      message: "The model provider could not be reached: connection refused.",
    });
    expect(performance.now() - began).toBeGreaterThanOrEqual(290);
    const id = await start(modelUrl);
    await send(id, '{"model":"m1"}');
    const server = createServer((socket) => {
      socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
    });
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    stack.defer(() => void server.close());
    expect(bodyOf(await finished(id))).toBe("ok");
  });

  test("a call that reached the provider is never made twice", async () => {
    const provider = await providerWith((_, response) => void response.destroy());
    const { call } = gatewayWith({ routes: [routeTo(provider.url)], retries: 3 });
    expect((await call(modelUrl)).error?.code).toBe("provider_connection_lost");
    expect(provider.seen).toHaveLength(1);
  });

  test("bodies and the number of calls are bounded", async () => {
    const provider = await providerWith((_, response) => {
      response.writeHead(200).write("x");
    });
    const { call, start, send, finished, gateway } = gatewayWith({
      routes: [routeTo(provider.url)],
      maxBodyBytes: 100,
      maxCallsPerRuntime: 2,
    });
    const large = await call(modelUrl, { model: "m1", text: "x".repeat(100) });
    expect(large.status).toBe(413);
    for (let i = 0; i < 2; i++) await send(await start(modelUrl), '{"model":"m1"}');
    const third = await start(modelUrl);
    await send(third, '{"model":"m1"}');
    expect((await finished(third)).status).toBe(429);
    await eventually(() => provider.seen.length === 2, { what: "the first calls are made" });
    gateway.runtimeClosed("runtime-1");
    const fourth = await start(modelUrl);
    await send(fourth, '{"model":"m1"}');
    await eventually(() => provider.seen.length === 3, { what: "the fourth call is made" });
  });

  test("one connection serves one call after the other", async () => {
    const provider = await providerWith((_, response) => sse(response, []));
    const { call } = gatewayWith({ routes: [routeTo(provider.url)] });
    for (let i = 0; i < 5; i++) await call(modelUrl);
    expect(new Set(provider.seen.map((seen) => seen.port)).size).toBe(1);
  });

  test("after close no call is made", async () => {
    const { gateway, call } = startGateway({ routes: [routeTo("http://127.0.0.1:9")] });
    await gateway.close();
    expect((await call(modelUrl)).error?.code).toBe("draining");
  });
});
