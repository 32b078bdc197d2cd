import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "../../support/wait.ts";
import { bodyOf, type GatewayOptions, gatewayIn, routeTo } from "./pipe.ts";
import { startConnectProxy, startProvider, startWsProvider } from "./servers.ts";

const socketUrl = "ws://models.squadron.internal/v1/responses";
const create = (model: string) => JSON.stringify({ type: "response.create", model, input: "hi" });
const completed = (input: number) =>
  JSON.stringify({
    type: "response.completed",
    response: {
      usage: { input_tokens: input, output_tokens: 2, input_tokens_details: { cached_tokens: 1 } },
    },
  });

let stack: AsyncDisposableStack;
beforeEach(() => {
  stack = new AsyncDisposableStack();
});
afterEach(() => stack.disposeAsync());

const gatewayWith = (options: GatewayOptions) => {
  const started = gatewayIn(stack, options);
  const open = () => started.start(socketUrl, { method: "GET", transport: "websocket" });
  const say = (id: string, data: string) => started.send(id, data, { end: false });
  return { ...started, open, say };
};

describe("a model call over a websocket", () => {
  test("messages go both ways in order, with the real key, and are counted", async () => {
    const provider = stack.use(
      await startWsProvider((client) => {
        for (let i = 0; i < 20; i++)
          client.send(JSON.stringify({ type: "response.output_text.delta", delta: i }));
        client.send(completed(client.received.length * 10));
      }),
    );
    const { open, say, send, pipe, finished, usage } = gatewayWith({ routes: [routeTo(provider.url)] });
    const id = await open();
    await say(id, create("m1"));
    await eventually(() => pipe.known(id).chunks.length === 21, { what: "the first answer" });
    await say(id, create("m2"));
    await eventually(() => pipe.known(id).chunks.length === 42, { what: "the second answer" });
    expect(pipe.known(id).status).toBe(101);
    expect(provider.clients[0]?.headers.authorization).toBe("Bearer sk-real-key-123456");
    expect(provider.clients[0]?.received).toEqual([create("m1"), create("m2")]);
    const deltas = pipe.known(id).chunks.map((chunk) => JSON.parse(chunk.toString("utf8")).delta);
    expect(deltas.slice(0, 20)).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(usage.map((entry) => entry.usage)).toEqual([
      { inputTokens: 10, outputTokens: 2, cachedTokens: 1, model: "m1" },
      { inputTokens: 20, outputTokens: 2, cachedTokens: 1, model: "m2" },
    ]);
    await send(id, "");
    expect((await finished(id)).error).toBeUndefined();
    await eventually(() => provider.clients[0]?.closedWith !== undefined, {
      what: "the provider sees the close",
    });
    expect(pipe.most).toBe(1);
  });

  test("large and binary messages pass", async () => {
    const long = JSON.stringify({ type: "x", text: "y".repeat(200_000) });
    const provider = stack.use(
      await startWsProvider((client) => {
        client.send(long);
        client.sendBinary(Buffer.from([0, 255, 128]));
      }),
    );
    const { open, say, pipe } = gatewayWith({ routes: [routeTo(provider.url)] });
    const id = await open();
    await say(id, long);
    await eventually(() => pipe.known(id).chunks.length === 2, { what: "both messages" });
    expect(provider.clients[0]?.received[0]).toBe(long);
    expect(pipe.known(id).chunks[0]?.toString("utf8")).toBe(long);
    expect(pipe.known(id).chunks[1]).toEqual(Buffer.from([0, 255, 128]));
  });

  test("a model that is not on the list does not reach the provider", async () => {
    const provider = stack.use(await startWsProvider((client) => client.send("{}")));
    const { open, say, pipe } = gatewayWith({ routes: [routeTo(provider.url)], allowModels: ["m1"] });
    const id = await open();
    await say(id, create("m2"));
    await eventually(() => pipe.known(id).chunks.length === 1, { what: "the refusal" });
    expect(JSON.parse(bodyOf(pipe.known(id)))).toMatchObject({
      type: "error",
      status: 400,
      error: { code: "model_denied" },
    });
    await say(id, create("m1"));
    await eventually(() => pipe.known(id).chunks.length === 2, { what: "the answer" });
    expect(provider.clients[0]?.received).toEqual([create("m1")]);
  });

  test("an error of the provider is scrubbed", async () => {
    const provider = stack.use(
      await startWsProvider((client) =>
        client.send(
          JSON.stringify({
            type: "error",
            status: 429,
            error: { code: "rate_limit_exceeded", message: "org-SECRET" },
          }),
        ),
      ),
    );
    const { open, say, pipe } = gatewayWith({ routes: [routeTo(provider.url)] });
    const id = await open();
    await say(id, create("m1"));
    await eventually(() => pipe.known(id).chunks.length === 1, { what: "the error" });
    expect(bodyOf(pipe.known(id))).not.toContain("SECRET");
    expect(JSON.parse(bodyOf(pipe.known(id)))).toMatchObject({
      status: 429,
      error: { code: "rate_limit_exceeded" },
    });
  });

  test("an answer that fails on its way is scrubbed too", async () => {
    const provider = stack.use(
      await startWsProvider((client) =>
        client.send(
          JSON.stringify({
            type: "response.failed",
            response: { id: "r", error: { code: "server_error", message: "org-SECRET" } },
          }),
        ),
      ),
    );
    const { open, say, pipe } = gatewayWith({ routes: [routeTo(provider.url)] });
    const id = await open();
    await say(id, create("m1"));
    await eventually(() => pipe.known(id).chunks.length === 1, { what: "the failure" });
    expect(bodyOf(pipe.known(id))).not.toContain("SECRET");
    expect(JSON.parse(bodyOf(pipe.known(id)))).toMatchObject({
      type: "response.failed",
      response: { id: "r", error: { code: "server_error" } },
    });
  });

  test("the provider's end is an end, a cut is a failure", async () => {
    const provider = stack.use(
      await startWsProvider((client, text) => (text.includes("cut") ? client.cut() : client.close(1000))),
    );
    const { open, say, finished } = gatewayWith({ routes: [routeTo(provider.url)] });
    const first = await open();
    await say(first, "bye");
    expect((await finished(first)).error).toBeUndefined();
    const second = await open();
    await say(second, "cut");
    expect((await finished(second)).error?.code).toBe("provider_connection_lost");
  });

  test("cancel closes the socket at the provider, also while it opens", async () => {
    const provider = stack.use(await startWsProvider(() => undefined));
    const { open, say, send, pipe } = gatewayWith({ routes: [routeTo(provider.url)] });
    const id = await open();
    await say(id, create("m1"));
    await eventually(() => provider.clients[0]?.received.length === 1, { what: "the message" });
    await send(id, "", { cancel: true });
    await eventually(() => provider.clients[0]?.closedWith !== undefined, { what: "the close" });
    const early = await open();
    await send(early, "", { cancel: true });
    expect(pipe.known(early)).toMatchObject({ status: undefined, ended: false });
  });

  test("a provider without websockets is told by a status: the runtime then uses HTTP", async () => {
    const provider = stack.use(
      await startProvider((_, response) => void response.writeHead(401).end("org-SECRET")),
    );
    const { open, finished } = gatewayWith({ routes: [routeTo(provider.url)] });
    const got = await finished(await open());
    expect(got.status).toBe(502);
    expect(bodyOf(got)).toContain("websocket_refused");
  });

  test("a silent provider is given up; between two answers silence is right", async () => {
    const provider = stack.use(
      await startWsProvider((client) => client.received.length === 1 && client.send(completed(1))),
    );
    const { open, say, pipe, finished } = gatewayWith({
      routes: [routeTo(provider.url)],
      idleTimeoutMs: 150,
    });
    const id = await open();
    await say(id, create("m1"));
    await eventually(() => pipe.known(id).chunks.length === 1, { what: "the answer" });
    const until = performance.now() + 300;
    await eventually(() => performance.now() > until, { what: "longer than the idle time has passed" });
    expect(pipe.known(id).ended).toBe(false);
    await say(id, create("m1"));
    expect((await finished(id)).error?.code).toBe("provider_silent");
  });

  test("goes through a proxy", async () => {
    const provider = stack.use(await startWsProvider((client) => client.send("pong")));
    const proxy = stack.use(await startConnectProxy());
    const { open, say, pipe } = gatewayWith({
      routes: [routeTo(provider.url)],
      environment: { HTTP_PROXY: proxy.url },
    });
    const id = await open();
    await say(id, "ping");
    await eventually(() => pipe.known(id).chunks.length === 1, { what: "the answer" });
    expect(proxy.targets).toEqual([new URL(provider.url).host]);
  });
});
