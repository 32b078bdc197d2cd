import type { CopilotSession } from "@github/copilot-sdk";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { connectRaw, frame, openRawClient, type RawClient } from "../support/raw-client.ts";
import { startTestNode, type TestNode, users } from "../support/test-node.ts";
import { sayIn } from "../support/victim.ts";
import { eventually, within } from "../support/wait.ts";

const MiB = 1024 * 1024;
/** More than all that is refused here would need if it were kept. */
const mostGrowth = 768 * MiB;

let squadron: TestNode;
let bystander: CopilotSession;
let turns = 0;
let rssBefore = 0;
const failures: unknown[] = [];
const halt = new AbortController();
let talking: Promise<void>;

/** A well-behaved user, in the middle of a conversation all the while. */
const talk = async (): Promise<void> => {
  while (!halt.signal.aborted) {
    const answer = await bystander.sendAndWait({ prompt: `[[echo turn ${turns}]]` });
    if (answer?.data.content !== `turn ${turns}`) failures.push(answer);
    turns++;
  }
};

beforeAll(async () => {
  squadron = await startTestNode({ isolation: "user" });
  bystander = await squadron.client("carol").createSession({ sessionId: "bystander" });
  talking = talk().catch((error: unknown) => void failures.push(error));
  await eventually(() => turns > 2, { what: "the bystander's first turns" });
  rssBefore = process.memoryUsage.rss();
});
afterEach(async () => {
  const before = turns;
  await eventually(() => turns > before + 1, { what: "a whole turn of the bystander after this" });
  expect(failures).toEqual([]);
  expect(process.memoryUsage.rss() - rssBefore).toBeLessThan(mostGrowth);
});
afterAll(async () => {
  halt.abort();
  await talking;
  await squadron.stop();
});

const stranger = (): Promise<RawClient> => openRawClient(squadron.node.sdk.port);
const known = (): Promise<RawClient> => connectRaw(squadron.node.sdk.port, users.bob.key);

/** The last error without an id that has come. */
const lastWords = (client: RawClient): unknown => {
  const error = client.messages.findLast(({ body }) => body.error !== undefined && body.id === null)?.body
    .error;
  return (error as { data?: { code?: unknown } } | undefined)?.data?.code;
};

const repeat = (text: string, times: number): string => text.repeat(times);
const request = (more: string): string => `{"jsonrpc":"2.0","id":7,${more}}`;

/** What ends the connection, with the code of the error that is said before. */
const fatal: readonly (readonly [string, string | Buffer, string])[] = [
  ["a Content-Length over the limit", "Content-Length: 99999999999\r\n\r\n", "too_large"],
  ["a Content-Length of very many digits", `Content-Length: ${repeat("9", 4_000)}\r\n\r\n`, "too_large"],
  ["a Content-Length one over the limit", `Content-Length: ${64 * MiB + 1}\r\n\r\n`, "too_large"],
  ["a negative Content-Length", "Content-Length: -5\r\n\r\nhello", "invalid_frame"],
  ["a Content-Length with a sign", "Content-Length: +5\r\n\r\nhello", "invalid_frame"],
  ["a hexadecimal Content-Length", "Content-Length: 0x10\r\n\r\n", "invalid_frame"],
  ["a fractional Content-Length", "Content-Length: 1.5\r\n\r\n", "invalid_frame"],
  ["an exponential Content-Length", "Content-Length: 1e3\r\n\r\n", "invalid_frame"],
  ["an empty Content-Length", "Content-Length: \r\n\r\n", "invalid_frame"],
  ["two numbers as Content-Length", "Content-Length: 5 5\r\n\r\n", "invalid_frame"],
  ["two equal Content-Lengths", "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", "invalid_frame"],
  ["two different Content-Lengths", "Content-Length: 5\r\ncontent-length: 500\r\n\r\n", "invalid_frame"],
  ["no Content-Length", "Content-Type: x\r\n\r\n", "invalid_frame"],
  ["an empty header", "\r\n\r\n", "invalid_frame"],
  ["a header line without a name", ": 5\r\nContent-Length: 5\r\n\r\n", "invalid_frame"],
  ["HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "invalid_frame"],
  ["a TLS hello", Buffer.concat([Buffer.from([0x16, 3, 1, 2, 0]), Buffer.alloc(10_000, 1)]), "too_large"],
  ["invalid UTF-8", frame(Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])), "parse_error"],
  [
    "invalid UTF-8 inside a string",
    frame(
      Buffer.concat([
        Buffer.from('{"jsonrpc":"2.0","id":1,"method":"ping","params":{"message":"'),
        Buffer.from([0xc0, 0xaf]),
        Buffer.from('"}}'),
      ]),
    ),
    "parse_error",
  ],
  ["a byte order mark", frame("\ufeff{}"), "parse_error"],
  ["no JSON", frame("hello"), "parse_error"],
  ["half a JSON text", frame('{"jsonrpc":"2.0","id":1'), "parse_error"],
  ["JSON and more", frame(`${request('"method":"ping"')}x`), "parse_error"],
  ["an empty body", frame(""), "parse_error"],
  ["a batch", frame(`[${request('"method":"ping"')},${request('"method":"ping"')}]`), "invalid_frame"],
  ["an empty batch", frame("[]"), "invalid_frame"],
  ["null", frame("null"), "invalid_frame"],
  ["a number", frame("1"), "invalid_frame"],
  ["a string", frame('"x"'), "invalid_frame"],
  ["an empty object", frame("{}"), "invalid_frame"],
  ["a method that is a number", frame(request('"method":1')), "invalid_frame"],
  ["a method that is an object", frame(request('"method":{}')), "invalid_frame"],
  ["an id that is an object", frame('{"jsonrpc":"2.0","id":{},"method":"ping"}'), "invalid_frame"],
  ["an id that is a list", frame('{"jsonrpc":"2.0","id":[1],"method":"ping"}'), "invalid_frame"],
  ["an id that is true", frame('{"jsonrpc":"2.0","id":true,"method":"ping"}'), "invalid_frame"],
  ["a method twice", frame(request('"method":"ping","method":"session.list"')), "invalid_frame"],
  ["an id twice", frame('{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}'), "invalid_frame"],
  ["params twice", frame(request('"method":"ping","params":{},"params":{"sessionId":"x"}')), "invalid_frame"],
  [
    "a result and an error",
    frame('{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1,"message":"x"}}'),
    "invalid_frame",
  ],
  ["an error that is a string", frame('{"jsonrpc":"2.0","id":1,"error":"x"}'), "invalid_frame"],
  ["params that are a string", frame(request('"method":"session.list","params":"x"')), "invalid_frame"],
  ["params that are a number", frame(request('"method":"session.list","params":5')), "invalid_frame"],
  ["a fractional id", frame('{"jsonrpc":"2.0","id":1.5,"method":"ping"}'), "invalid_frame"],
  [
    "an id beyond the safe integers",
    frame('{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}'),
    "invalid_frame",
  ],
  [
    "deep nesting in a known parameter",
    frame(
      request(
        `"method":"session.create","params":{"systemMessage":${repeat('{"a":', 500)}1${repeat("}", 500)}}`,
      ),
    ),
    "invalid_frame",
  ],
  ["fifty thousand open lists", frame(repeat("[", 50_000)), "invalid_frame"],
];

/** What is answered with an error, and the connection goes on. `undefined`: silently ignored. */
const answered: readonly (readonly [string, string, string | undefined])[] = [
  ["a method that nobody knows", request('"method":"x.y"'), "method_unknown"],
  ["an empty method", request('"method":""'), "method_unknown"],
  ["a method of a megabyte", request(`"method":"${repeat("m", MiB)}"`), "method_unknown"],
  ["a method __proto__", request('"method":"__proto__"'), "method_unknown"],
  ["params that are a list", request('"method":"session.list","params":[1]'), "invalid_request"],
  [
    "a key __proto__",
    request('"method":"session.list","params":{"__proto__":{"sessionId":"x"}}'),
    "invalid_request",
  ],
  [
    "a key __proto__ deep inside",
    request('"method":"session.create","params":{"systemMessage":{"sections":{"__proto__":{"a":1}}}}'),
    "invalid_request",
  ],
  [
    "a key constructor",
    request('"method":"session.list","params":{"constructor":{"prototype":{"a":1}}}'),
    "parameter_denied",
  ],
  [
    "an escaped key __proto__",
    request('"method":"session.list","params":{"\\u005f_proto__":{"a":1}}'),
    "invalid_request",
  ],
  [
    "a session id that is a number",
    request('"method":"session.resume","params":{"sessionId":5}'),
    "invalid_request",
  ],
  [
    "a session id that is an object",
    request('"method":"session.getMessages","params":{"sessionId":{"toString":1}}'),
    "invalid_request",
  ],
  [
    "a session id that is too long",
    request(`"method":"session.create","params":{"sessionId":"${repeat("x", 201)}"}`),
    "invalid_request",
  ],
  [
    "an empty session id",
    request('"method":"session.send","params":{"sessionId":"","prompt":"x"}'),
    "invalid_request",
  ],
  ["a parameter that nobody knows", request('"method":"ping","params":{"surprise":1}'), "parameter_denied"],
  [
    "a connect with a second key",
    request(`"method":"connect","params":{"token":"${users.alice.key}"}`),
    "invalid_request",
  ],
  ["a connect with a wrong key", request('"method":"connect","params":{"token":"wrong"}'), "unauthenticated"],
  [
    "a connect with a key of a wrong type",
    request('"method":"connect","params":{"token":{"toString":1}}'),
    "unauthenticated",
  ],
  ["a reply that nobody asked for", '{"jsonrpc":"2.0","id":1,"result":{}}', undefined],
  [
    "an error that nobody asked for",
    '{"jsonrpc":"2.0","id":"x","error":{"code":1,"message":"m"}}',
    undefined,
  ],
  ["an error without an id", '{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}', undefined],
  ["a notification that nobody knows", '{"jsonrpc":"2.0","method":"x","params":{}}', undefined],
  [
    "a notification of ours",
    '{"jsonrpc":"2.0","method":"session.event","params":{"sessionId":"x","event":{}}}',
    undefined,
  ],
  [
    "a notification with the method of a request",
    '{"jsonrpc":"2.0","method":"session.delete","params":{"sessionId":"x"}}',
    undefined,
  ],
];

describe("what breaks the protocol is told so and cut off", () => {
  it.each(fatal)("%s", async (_what, bytes, code) => {
    for (const open of [stranger, known]) {
      await using client = await open();
      client.write(bytes);
      await within(client.ended, { what: "the end of the connection" });
      expect(lastWords(client)).toBe(code);
    }
  });

  it("a header of a hundred megabytes is not read to its end", async () => {
    await using client = await stranger();
    let written = 0;
    const piece = Buffer.alloc(MiB, "x");
    while (!client.closed && written < 100 * MiB) {
      client.write(piece);
      written += piece.length;
      if (client.socket.writableLength > 8 * MiB)
        await new Promise((resolve) => client.socket.once("drain", resolve).once("close", resolve));
    }
    await within(client.ended, { what: "the end of the connection" });
    expect(client.socket.bytesWritten).toBeLessThan(50 * MiB);
  });

  it.each([
    ["a header", "Content-Len"],
    ["a body", 'Content-Length: 500\r\n\r\n{"jsonrpc"'],
  ])("the end in the middle of %s", async (_what, bytes) => {
    for (const open of [stranger, known]) {
      await using client = await open();
      client.socket.end(bytes);
      await within(client.ended, { what: "the end of the connection" });
    }
  });

  it("a reset in the middle of a frame", async () => {
    for (const open of [stranger, known]) {
      await using client = await open();
      client.write('Content-Length: 500\r\n\r\n{"jsonrpc"');
      client.socket.resetAndDestroy();
      await client.ended;
    }
  });
});

describe("what can be answered is answered, and the connection goes on", () => {
  it.each(answered)("%s", async (_what, body, code) => {
    await using client = await known();
    client.write(frame(body));
    expect(await client.ask("ping", { message: "still here" })).toMatchObject({
      message: "pong: still here",
    });
    if (code !== undefined)
      await eventually(() => client.messages.some(({ body: { id } }) => id === 7), { what: "the answer" });
    const answer = client.messages.find(({ body: { id } }) => id === 7);
    if (code === undefined) expect(answer).toBeUndefined();
    else expect(answer?.body).toMatchObject({ error: { message: expect.any(String), data: { code } } });
    expect(({} as { sessionId?: unknown; a?: unknown }).sessionId).toBeUndefined();
    expect(({} as { a?: unknown }).a).toBeUndefined();
  });

  it("unusual ids come back as they were", async () => {
    await using client = await known();
    for (const id of ['"x"', '""', "0", "-1", '"__proto__"', `"${repeat("i", 10_000)}"`]) {
      client.write(frame(`{"jsonrpc":"2.0","id":${id},"method":"ping"}`));
      await eventually(() => client.received().includes(`"id":${id},"result"`), {
        what: `an answer to id ${id.slice(0, 20)}`,
      });
    }
  });

  it("a frame in single bytes, and many frames in one piece", async () => {
    await using client = await known();
    for (const byte of frame('{"jsonrpc":"2.0","id":"slow","method":"ping"}'))
      client.write(Buffer.from([byte]));
    client.write(
      Buffer.concat(
        Array.from({ length: 500 }, (_, at) => frame(`{"jsonrpc":"2.0","id":"many-${at}","method":"ping"}`)),
      ),
    );
    await eventually(
      () => client.messages.filter(({ text }) => /"id":"(slow|many-\d+)","result"/.test(text)).length === 501,
      { what: "all answers" },
    );
  });

  it("a string of twenty megabytes", async () => {
    await using client = await known();
    const message = repeat("x", 20 * MiB);
    const answer = await client.ask("ping", { message });
    expect(String(answer.message).length).toBe(message.length + 6);
  });

  it("every method before connect", async () => {
    await using client = await stranger();
    for (const method of [
      "ping",
      "session.create",
      "session.list",
      "status.get",
      "x",
      "session.shell.exec",
      "runtime.shutdown",
    ]) {
      expect(await client.call(method, { sessionId: "bystander" })).toMatchObject({
        code: "unauthenticated",
      });
    }
    for (const token of [
      undefined,
      null,
      "",
      0,
      "key-",
      "KEY-BOB",
      " key-bob",
      ["key-bob"],
      { token: "key-bob" },
    ]) {
      expect(await client.call("connect", { token })).toMatchObject({ code: "unauthenticated" });
    }
    expect(await client.call("connect", { token: users.bob.key })).toMatchObject({ kind: "result" });
    expect(await client.call("connect", { token: users.alice.key })).toMatchObject({
      code: "invalid_request",
    });
    expect(await client.ask("auth.getStatus", {})).toMatchObject({ login: "bob" });
  });
});

describe("a client that vanishes", () => {
  const gone = (): Promise<unknown> => {
    const bobs = { tenant: users.bob.tenant, user: users.bob.user };
    return eventually(() => squadron.node.gateway.services.connectionsOf(bobs).length === 0, {
      what: "the end of the connection",
    });
  };

  // A runtime has nothing on disk of a session in which nothing has been said.
  it.each(["session.create", "session.resume"])(
    "right after it made a session finds it again by %s",
    async (method) => {
      const sessionId = `left-before-${method}`;
      const first = await known();
      await first.ask("session.create", { sessionId });
      await first.ask("session.plan.update", { sessionId, content: "a plan" });
      await first.close();
      await gone();
      await using second = await known();
      await second.ask(method, { sessionId });
      expect(await second.ask("session.plan.read", { sessionId })).toMatchObject({ content: "a plan" });
      expect(await sayIn(second, sessionId, "[[count]]")).toBe("1");
      await second.close();
      await gone();
      await using third = await known();
      await third.ask(method, { sessionId });
      expect(await sayIn(third, sessionId, "[[count]]")).toBe("2");
      await third.close();
      await gone();
    },
  );

  it("before its session was made finds it by the same name", async () => {
    for (let round = 0; round < 10; round++) {
      const sessionId = `cut-${round}`;
      const first = await known();
      first.send({ jsonrpc: "2.0", id: 7, method: "session.create", params: { sessionId } });
      if (round % 2 === 0) first.socket.end();
      else first.socket.resetAndDestroy();
      await first.ended;
      await gone();
      await using second = await known();
      await second.ask("session.create", { sessionId });
      expect(await sayIn(second, sessionId, "[[count]]")).toBe("1");
      await second.close();
      await gone();
    }
  });
});

describe("too much", () => {
  it("a thousand idle connections keep nobody from being served", async () => {
    const before = squadron.node.gateway.connections;
    const clients = await Promise.all(
      Array.from({ length: 1_000 }, (_, at) => (at % 2 === 0 ? stranger() : known())),
    );
    const served = turns;
    await eventually(() => turns > served + 3, { what: "turns of the bystander" });
    expect(squadron.node.gateway.connections).toBe(before + 500);
    await Promise.all(clients.map((client) => client.close()));
    await eventually(() => squadron.node.gateway.connections === before, {
      what: "all connections forgotten",
    });
  });

  it("a client that never reads is cut off while its session goes on", async () => {
    const reader = await known();
    await reader.ask("session.create", { sessionId: "unread", streaming: true });
    await reader.ask("session.send", { sessionId: "unread", prompt: "[[tokens 40]]" });
    await eventually(() => reader.events("session.idle").length === 1, { what: "a turn that is read" });
    reader.socket.pause();
    const rss = process.memoryUsage.rss();
    const connections = squadron.node.gateway.connections;
    // Answers that nobody reads: each is as large as its question.
    const filler = repeat("y", MiB);
    const gone = eventually(() => squadron.node.gateway.connections < connections, {
      what: "the end of the connection",
      deadlineMs: 20_000,
    });
    for (let at = 0; at < 5; at++)
      reader.send({
        jsonrpc: "2.0",
        id: 1_000 + at,
        method: "session.send",
        params: { sessionId: "unread", prompt: `[[tokens 5000]] ${at}` },
      });
    for (let at = 0; at < 80 && !reader.closed; at++)
      reader.send({ jsonrpc: "2.0", id: 2_000 + at, method: "ping", params: { message: filler } });
    await gone;
    expect(process.memoryUsage.rss() - rss).toBeLessThan(mostGrowth);
    await reader.close();
    await using again = await known();
    await again.ask("session.resume", { sessionId: "unread" });
    const { events } = await again.ask("session.getMessages", { sessionId: "unread" });
    expect(JSON.stringify(events)).toContain("t40");
  });

  it("a flood of requests from one user lets others have their turn", async () => {
    await using client = await known();
    const requests = 10_000;
    const served = turns;
    client.write(
      Buffer.concat(
        Array.from({ length: requests }, (_, id) =>
          frame(`{"jsonrpc":"2.0","id":${10_000 + id},"method":"session.list","params":{}}`),
        ),
      ),
    );
    await eventually(() => client.messages.length > requests, { what: "all answers", deadlineMs: 30_000 });
    expect(turns - served).toBeGreaterThan(4);
    const order = client.messages.slice(1).map(({ body }) => Number(body.id));
    expect(order).toEqual(order.toSorted((a, b) => a - b));
  });
});
