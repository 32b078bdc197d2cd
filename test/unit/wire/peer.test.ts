import { type Duplex, duplexPair, PassThrough, Writable } from "node:stream";
import { afterEach, describe, expect, it } from "vitest";
import { SquadronError } from "../../../src/kernel/errors.ts";
import { type Envelope, readEnvelope } from "../../../src/wire/envelope.ts";
import {
  createPeer,
  type Peer,
  type PeerHandler,
  type PeerOptions,
  RawJson,
} from "../../../src/wire/peer.ts";
import { RpcError } from "../../../src/wire/rpc-error.ts";
import { createSplitter } from "../../../src/wire/splitter.ts";
import { frameOf } from "../../../src/wire/writer.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const silent: PeerHandler = { request: async () => ({}), notification: () => {} };

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

const until = (what: string, condition: () => boolean): Promise<void> =>
  expect.poll(condition, { timeout: 10_000, interval: 1, message: what }).toBe(true);

/** Lets everything happen that is ready to happen. */
const turnOfTheLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A peer on one end of a pipe, and the other end as a client's hand: it writes bytes and sees the frames that come. */
const connect = (options: Partial<PeerOptions> = {}) => {
  // Like sockets: a side that sees the end ends too.
  const [ours, theirs] = duplexPair({ allowHalfOpen: false });
  const clock = new ManualClock();
  const peer = createPeer({ input: ours, output: ours, handler: silent, clock, ...options });
  const splitter = createSplitter();
  const received: Record<string, unknown>[] = [];
  const read = (): void => {
    theirs.on("data", (chunk: Buffer) => {
      splitter.push(chunk);
      for (let body = splitter.next(); body !== undefined; body = splitter.next())
        received.push(JSON.parse(String(body)));
    });
  };
  theirs.on("error", () => {});
  cleanups.push(() => {
    theirs.destroy();
    ours.destroy();
  });
  const send = (value: unknown): boolean => theirs.write(frameOf(JSON.stringify(value)));
  const ask = (id: number | string, method: string, params: unknown = {}): boolean =>
    send({ jsonrpc: "2.0", id, method, params });
  return { peer, clock, ours, theirs, received, read, send, ask };
};

const clientOf = (options: Partial<PeerOptions> = {}) => {
  const client = connect(options);
  client.read();
  return client;
};

/** What happened to a promise, without waiting longer than it takes to settle. */
const failure = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error) => error,
  );

describe("requests of the other side", () => {
  it("are handled in the order of arrival and answered as they finish", async () => {
    const order: string[] = [];
    const waiting = new Map<string, () => void>();
    const handler: PeerHandler = {
      request: (frame) => {
        order.push(`request ${frame.method}`);
        return new Promise((resolve) =>
          waiting.set(String(frame.method), () => resolve({ was: frame.method })),
        );
      },
      notification: (frame) => {
        order.push(`notification ${frame.method}`);
      },
    };
    const { ask, send, received } = clientOf({ handler });
    ask(1, "a");
    send({ method: "b" });
    ask("two", "c");
    await until("all arrived", () => order.length === 3);
    expect(order).toEqual(["request a", "notification b", "request c"]);
    waiting.get("c")?.();
    await until("c answered", () => received.length === 1);
    waiting.get("a")?.();
    await until("a answered", () => received.length === 2);
    expect(received).toEqual([
      { jsonrpc: "2.0", id: "two", result: { was: "c" } },
      { jsonrpc: "2.0", id: 1, result: { was: "a" } },
    ]);
  });

  it("get errors with a stable code, foreign errors as they came, anything else hidden", async () => {
    const failures: unknown[] = [];
    const handler: PeerHandler = {
      request: (frame) => {
        if (frame.method === "ours")
          throw new SquadronError("not_found", "No such thing.", { details: { thing: "x" } });
        if (frame.method === "theirs") throw new RpcError({ code: -7, message: "odd", data: [1] });
        if (frame.method === "circular") return Promise.resolve(1n);
        return Promise.reject(new Error("the password is hunter2"));
      },
      notification: () => {},
    };
    const { ask, received } = clientOf({ handler, onHandlerFailure: (error) => failures.push(error) });
    for (const [id, method] of ["ours", "theirs", "bug", "circular"].entries()) ask(id, method);
    await until("all answered", () => received.length === 4);
    expect(received.map((frame) => frame.error)).toEqual([
      { code: -32004, message: "No such thing.", data: { thing: "x", code: "not_found" } },
      { code: -7, message: "odd", data: [1] },
      expect.objectContaining({ code: -32603, data: { code: "internal" } }),
      expect.objectContaining({ code: -32603, data: { code: "internal" } }),
    ]);
    expect(JSON.stringify(received)).not.toContain("hunter2");
    expect(failures).toHaveLength(2);
  });

  it("pass serialised results on byte for byte, and nothing as null", async () => {
    const handler: PeerHandler = {
      request: async (frame) => (frame.method === "raw" ? new RawJson(Buffer.from('{"b": 1.0}')) : undefined),
      notification: () => {},
    };
    const { ask, theirs } = connect({ handler });
    const chunks: Buffer[] = [];
    theirs.on("data", (chunk: Buffer) => chunks.push(chunk));
    ask(1, "raw");
    ask(2, "nothing");
    const text = () => Buffer.concat(chunks).toString();
    await until("answered", () => text().includes('"id":2'));
    expect(text()).toContain('{"jsonrpc":"2.0","id":1,"result":{"b": 1.0}}');
    expect(text()).toContain('{"jsonrpc":"2.0","id":2,"result":null}');
  });

  it("are read only up to the limit of those in handling", async () => {
    const waiting: (() => void)[] = [];
    const handler: PeerHandler = {
      request: () => new Promise((resolve) => waiting.push(() => resolve(null))),
      notification: () => {},
    };
    const { ask, received, theirs } = clientOf({ handler, limits: { maxConcurrentRequests: 3 } });
    for (let id = 0; id < 10; id++) ask(id, "m");
    for (let answered = 0; answered < 10; answered++) {
      await until("the next has arrived", () => waiting.length >= Math.min(10, answered + 3));
      expect(waiting.length).toBe(Math.min(10, answered + 3));
      waiting[answered]?.();
      await until("answered", () => received.length === answered + 1);
    }
    expect(theirs.destroyed).toBe(false);
  });

  it("may be ignored when they begin with $/ and want no answer", async () => {
    const seen: (string | undefined)[] = [];
    const { send, peer } = clientOf({
      handler: { request: async () => null, notification: (frame) => void seen.push(frame.method) },
    });
    send({ method: "$/cancelRequest", params: { id: 1 } });
    send({ method: "$/squadron/ack" });
    send({ method: "real" });
    await until("arrived", () => seen.length > 0);
    expect(seen).toEqual(["real"]);
    peer.close();
  });
});

describe("requests of ours", () => {
  it("resolve with the response's frame, whatever the order", async () => {
    const { peer, received, send } = clientOf();
    const first = peer.request("a", { x: 1 });
    const second = peer.request("b", new RawJson(Buffer.from("[ 1 ]")));
    const third = peer.request("c", undefined);
    await until("sent", () => received.length === 3);
    expect(received).toEqual([
      { jsonrpc: "2.0", id: 1, method: "a", params: { x: 1 } },
      { jsonrpc: "2.0", id: 2, method: "b", params: [1] },
      { jsonrpc: "2.0", id: 3, method: "c" },
    ]);
    send({ id: 3, result: "three" });
    send({ id: 2, error: { code: -1, message: "no", data: { why: "x" } } });
    send({ id: 1, result: "one" });
    expect((await third).result()).toBe("three");
    expect((await first).result()).toBe("one");
    expect(await failure(second)).toMatchObject({
      name: "RpcError",
      code: -1,
      message: "no",
      data: { why: "x" },
    });
  });

  it("end at their deadline, and a late answer is counted and ignored", async () => {
    const late: Envelope[] = [];
    const { peer, clock, send, received } = clientOf({ onUnexpectedResponse: (frame) => late.push(frame) });
    const outcome = failure(peer.request("slow", {}, { timeoutMs: 1000 }));
    clock.advance(999);
    await until("sent", () => received.length === 1);
    clock.advance(1);
    expect(await outcome).toMatchObject({ code: "timeout" });
    send({ id: 1, result: null });
    send({ id: 77, result: null });
    send({ id: "1", result: null });
    send({ id: null, error: { code: 1, message: "could not read that" } });
    await until("counted", () => late.length === 4);
    expect(clock.pending).toBe(0);
    const alive = peer.request("ping", {});
    send({ id: 2, result: "pong" });
    expect((await alive).result()).toBe("pong");
  });

  it("end with their signal, before and after being sent", async () => {
    const { peer, clock, received } = clientOf();
    const abort = new AbortController();
    const outcome = failure(peer.request("slow", {}, { signal: abort.signal, timeoutMs: 5 }));
    abort.abort();
    expect(await outcome).toMatchObject({ code: "cancelled" });
    expect(await failure(peer.request("never", {}, { signal: abort.signal }))).toMatchObject({
      code: "cancelled",
    });
    await until("sent", () => received.length > 0);
    expect(received).toHaveLength(1);
    expect(clock.pending).toBe(0);
  });

  it.each<[string, (connection: ReturnType<typeof connect>) => void]>([
    ["we close", ({ peer }) => peer.close()],
    ["we close for a reason", ({ peer }) => peer.close(new SquadronError("draining", "Bye."))],
    ["the other side ends", ({ theirs }) => theirs.end()],
    ["the stream is destroyed", ({ ours }) => ours.destroy()],
    ["the stream breaks", ({ ours }) => ours.destroy(new Error("ECONNRESET"))],
    ["the other side sends nonsense", ({ theirs }) => theirs.write("nonsense\r\n\r\n")],
  ])("all reject with connection_closed when %s", async (_, act) => {
    const connection = clientOf();
    const outcomes = [1, 2].map((n) => failure(connection.peer.request(`m${n}`, {}, { timeoutMs: 60_000 })));
    act(connection);
    for (const outcome of outcomes) expect(await outcome).toMatchObject({ code: "connection_closed" });
    expect(await failure(connection.peer.request("later", {}))).toMatchObject({ code: "connection_closed" });
    connection.peer.notify("later", {});
    connection.peer.sendRaw(Buffer.from("{}"));
    connection.clock.advance(1_000);
    await connection.peer.closed;
    expect(connection.clock.pending).toBe(0);
  });

  it("reject when their parameters cannot be serialised", async () => {
    const { peer } = clientOf();
    expect(await failure(peer.request("m", 1n))).toBeInstanceOf(TypeError);
    expect(await failure(peer.request("m", () => {}))).toBeInstanceOf(TypeError);
  });

  it("carry no lone surrogates, which the runtime would not answer", async () => {
    const { peer, received } = clientOf();
    peer.notify("m", { "k\ud800": "cut \ud83d", whole: "😀", text: "\\ud83d \\\\ud83d" });
    await until("sent", () => received.length === 1);
    expect(received[0]?.params).toEqual({
      "k\ufffd": "cut \ufffd",
      whole: "😀",
      text: "\\ud83d \\\\ud83d",
    });
  });
});

describe("the end of a connection", () => {
  it.each([
    ["a bad header", "Content-Length: -1\r\n\r\n", -32600, "invalid_frame"],
    ["two lengths", "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", -32600, "invalid_frame"],
    ["a frame over the limit", "Content-Length: 1000001\r\n\r\n", -32013, "too_large"],
    ["a header over the limit", "x".repeat(10_000), -32013, "too_large"],
    ["bad JSON", String(frameOf("{nonsense")), -32700, "parse_error"],
    ["a batch", String(frameOf('[{"method":"m"}]')), -32600, "invalid_frame"],
    ["a wrong type", String(frameOf('{"method":7}')), -32600, "invalid_frame"],
    ["a malformed error", String(frameOf('{"id":1,"error":{}}')), -32600, "invalid_frame"],
    [
      "a notification that its handler refuses",
      String(frameOf('{"method":"m","params":{"a":[}}')),
      -32700,
      "parse_error",
    ],
  ])("after %s is told in a last frame", async (_, bytes, rpcCode, code) => {
    const problems: string[] = [];
    const { peer, theirs, received, ask } = clientOf({
      limits: { maxFrameBytes: () => 1_000_000 },
      handler: { request: async () => null, notification: (frame) => void frame.params() },
      onProtocolError: (error) => problems.push(error.code),
    });
    const pending = failure(peer.request("ours", {}));
    theirs.write(bytes);
    ask(9, "too late");
    expect(await peer.closed).toMatchObject({ code });
    expect(await pending).toMatchObject({ code: "connection_closed" });
    await until("the last frame came", () => received.length === 2);
    expect(received[1]).toMatchObject({ id: null, error: { code: rpcCode, data: { code } } });
    expect(problems).toEqual([code]);
  });

  it("handles nothing after a broken frame, also in the same chunk", async () => {
    const handled: string[] = [];
    const { peer, theirs } = clientOf({
      handler: { request: async (frame) => void handled.push(String(frame.method)), notification: () => {} },
    });
    const good = frameOf('{"id":1,"method":"good"}');
    theirs.write(Buffer.concat([good, frameOf("[]"), good]));
    await peer.closed;
    expect(handled).toEqual(["good"]);
  });

  it("in the middle of a frame is told apart from a clean one", async () => {
    const cut = clientOf();
    cut.theirs.end("Content-Length: 10\r\n\r\n{}");
    expect(await cut.peer.closed).toMatchObject({
      code: "connection_closed",
      message: expect.stringContaining("middle"),
    });
    const clean = clientOf();
    clean.theirs.end(frameOf('{"method":"m"}'));
    expect(await clean.peer.closed).toBeUndefined();
  });

  it("gives the reason of a close to the other side and to the owner, once", async () => {
    const { peer, received } = clientOf();
    peer.close(new SquadronError("draining", "This node is leaving."));
    peer.close(new SquadronError("internal", "A second reason."));
    expect(await peer.closed).toMatchObject({ code: "draining" });
    await until("told", () => received.length === 1);
    expect(received).toEqual([
      {
        jsonrpc: "2.0",
        id: null,
        error: { code: -32053, message: "This node is leaving.", data: { code: "draining" } },
      },
    ]);
  });

  it("comes within the linger time when the other side neither reads nor leaves", async () => {
    const { peer, clock, ours } = connect();
    for (let i = 0; i < 100; i++) peer.notify("m", { text: "x".repeat(10_000) });
    peer.close();
    expect(ours.destroyed).toBe(false);
    clock.advance(1_000);
    expect(await peer.closed).toBeUndefined();
    expect(ours.destroyed).toBe(true);
  });

  it("waits for the answers to all that has come, when it is asked to finish", async () => {
    const answers = new Map<string, () => void>();
    const { peer, received, ask, theirs } = clientOf({
      handler: {
        request: (frame) =>
          new Promise((resolve) => answers.set(frame.method ?? "", () => resolve(frame.method))),
        notification: () => {},
      },
    });
    let ended = false;
    theirs.once("end", () => {
      ended = true;
    });
    ask(1, "one");
    await until("the first has come", () => answers.has("one"));
    peer.finish();
    ask(2, "two");
    await until("the second has come", () => answers.has("two"));
    answers.get("one")?.();
    await until("the first is answered", () => received.length === 1);
    await turnOfTheLoop();
    expect(ended).toBe(false);
    answers.get("two")?.();
    expect(await peer.closed).toBeUndefined();
    await until("the last answer has come", () => received.length === 2);
  });

  it("sends what was accepted before the close", async () => {
    const { peer, received, read } = connect();
    for (let n = 0; n < 50; n++) peer.notify("m", { n, text: "x".repeat(10_000) });
    peer.close();
    read();
    await peer.closed;
    expect(received).toHaveLength(50);
  });

  it("of a process whose stdin has broken still reads what it had written", async () => {
    const input = new PassThrough();
    const output = new Writable({ write: (_chunk, _encoding, done) => done() });
    const clock = new ManualClock();
    const peer = createPeer({ input, output, handler: silent, clock });
    const answered = peer.request("m", {});
    const lost = failure(peer.request("n", {}));
    output.destroy(new Error("EPIPE"));
    await until("noticed", () => clock.pending > 0);
    expect(await failure(peer.request("later", {}))).toMatchObject({ code: "connection_closed" });
    input.write(frameOf('{"id":1,"result":"made it"}'));
    expect((await answered).result()).toBe("made it");
    input.end();
    expect(await lost).toMatchObject({ code: "connection_closed" });
    expect(await peer.closed).toMatchObject({ code: "connection_closed" });
    expect(clock.pending).toBe(0);
  });

  it("of a process whose stdin has broken comes although a grandchild holds its stdout", async () => {
    const clock = new ManualClock();
    const output = new Writable({ write: (_chunk, _encoding, done) => done() });
    const peer = createPeer({ input: new PassThrough(), output, handler: silent, clock });
    output.destroy();
    await until("noticed", () => clock.pending > 0);
    clock.advance(1_000);
    await peer.closed;
  });
});

describe("bounds", () => {
  it("close a connection whose other side never reads", async () => {
    const { peer } = connect({ limits: { maxQueuedBytes: 1_000_000 } });
    const text = "x".repeat(10_000);
    let sent = 0;
    let most = 0;
    let closed = false;
    void peer.closed.then(() => {
      closed = true;
    });
    const pending = failure(peer.request("m", {}));
    while (!closed && sent < 1_000) {
      peer.notify("event", { text });
      sent++;
      most = Math.max(most, peer.queuedBytes);
      await Promise.resolve();
    }
    expect(sent).toBeLessThan(150);
    expect(most).toBeLessThan(1_020_000);
    expect(await peer.closed).toMatchObject({ code: "slow_consumer", details: { limit: 1_000_000 } });
    expect(await pending).toMatchObject({ code: "connection_closed" });
  });

  it("hold up the requests of a client that does not read its answers, for a while at a time", async () => {
    let handled = 0;
    const handler: PeerHandler = {
      request: async () => {
        handled++;
        return "x".repeat(100_000);
      },
      notification: () => {},
    };
    const { peer, ask, clock, read, received } = connect({ handler, limits: { maxConcurrentRequests: 2 } });
    for (let id = 0; id < 100; id++) ask(id, "big");
    await until("paused", () => peer.queuedBytes > 200_000);
    await turnOfTheLoop();
    expect(handled).toBe(2);
    clock.advance(49);
    await turnOfTheLoop();
    expect(handled).toBe(2);
    clock.advance(1);
    await until("two more", () => handled === 4);
    await turnOfTheLoop();
    expect(handled).toBe(4);
    read();
    await until("all answered once it reads", () => received.length === 100);
    peer.close();
  });

  it("let two sides that both send much before reading go on", async () => {
    const [left, right] = duplexPair({ allowHalfOpen: false });
    const clock = new ManualClock();
    const counts = [0, 0];
    const sides = [left, right].map((stream, side) =>
      createPeer({
        input: stream,
        output: stream,
        clock,
        handler: {
          ...silent,
          notification: () => {
            counts[side] = (counts[side] ?? 0) + 1;
          },
        },
      }),
    );
    for (const side of sides) for (let i = 0; i < 100; i++) side.notify("m", ["x".repeat(100_000)]);
    await expect
      .poll(
        () => {
          clock.advance(50);
          return counts;
        },
        { timeout: 10_000, interval: 1 },
      )
      .toEqual([100, 100]);
    for (const side of sides) side.close();
  });

  it("keep memory flat under a header that never ends", async () => {
    const { peer, theirs, received } = clientOf();
    const block = Buffer.alloc(64 * 1024, "x");
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    for (
      let sent = 0;
      sent < 100 * 1024 * 1024 && !theirs.destroyed && theirs.writable;
      sent += block.length
    ) {
      await new Promise<void>((resolve) => theirs.write(block, () => resolve()));
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    }
    expect(most).toBeLessThan(16 * 1024 * 1024);
    await until("told", () => received.length === 1);
    expect(received[0]).toMatchObject({ error: { data: { code: "too_large" } } });
    theirs.end();
    expect(await peer.closed).toMatchObject({ code: "too_large" });
  });
});

describe("acknowledgePartial", () => {
  const ack = { jsonrpc: "2.0", method: "$/squadron/ack" };

  it("answers each incomplete frame once", async () => {
    const { theirs, received } = clientOf({ acknowledgePartial: true });
    const frame = frameOf('{"id":1,"method":"m"}');
    const body = frame.length - 21;
    theirs.write(frame.subarray(0, body));
    await until("acknowledged", () => received.length === 1);
    for (const byte of frame.subarray(body)) {
      theirs.write(Buffer.from([byte]));
      await turnOfTheLoop();
    }
    await until("answered", () => received.length === 2);
    theirs.write(frame.subarray(0, 5));
    await until("acknowledged again", () => received.length === 3);
    expect(received).toEqual([ack, { jsonrpc: "2.0", id: 1, result: {} }, ack]);
  });

  it("sends nothing for whole frames, nor when it is off", async () => {
    const on = clientOf({ acknowledgePartial: true });
    on.ask(1, "m");
    await until("answered", () => on.received.length === 1);
    const off = clientOf();
    const frame = frameOf('{"id":1,"method":"m"}');
    off.theirs.write(frame.subarray(0, 30));
    await turnOfTheLoop();
    off.theirs.write(frame.subarray(30));
    await until("answered", () => off.received.length === 1);
    expect([...on.received, ...off.received].map((answer) => answer.id)).toEqual([1, 1]);
  });
});

describe("two peers back to back", () => {
  it("ask each other, also while being asked", async () => {
    const [left, right]: Duplex[] = duplexPair();
    const clock = new ManualClock();
    const echo = (other: () => Peer | undefined): PeerHandler => ({
      request: async (frame) => {
        const depth = Number(Array.isArray(frame.params()) ? (frame.params() as number[])[0] : 0);
        if (depth === 0) return "ground";
        const answer = await other()?.request("down", [depth - 1]);
        return new RawJson(answer?.resultBytes() ?? Buffer.from("null"));
      },
      notification: () => {},
    });
    if (left === undefined || right === undefined) throw new Error("no pair");
    const peers: { a?: Peer; b?: Peer } = {};
    peers.a = createPeer({ input: left, output: left, clock, handler: echo(() => peers.a) });
    peers.b = createPeer({ input: right, output: right, clock, handler: echo(() => peers.b) });
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => (i % 2 ? peers.a : peers.b)?.request("down", [i])),
    );
    expect(answers.map((answer) => answer?.result())).toEqual(new Array(50).fill("ground"));
    peers.a.close();
    expect(await Promise.all([peers.a.closed, peers.b.closed])).toEqual([undefined, undefined]);
    expect(readEnvelope(Buffer.from('{"method":"m"}')).kind).toBe("notification");
  });
});
