import fc from "fast-check";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { methodEntries } from "../../src/wire/method-table.ts";
import { connectRaw, frame, type RawClient } from "../support/raw-client.ts";
import { startTestNode, type TestNode, users } from "../support/test-node.ts";
import { openVictim, type Victim } from "../support/victim.ts";
import { within } from "../support/wait.ts";

/** Set to repeat a run that failed. */
const seed = 20_261_124;

let squadron: TestNode;
let victim: Victim;
let history: string;
let pid: number | undefined;

beforeAll(async () => {
  squadron = await startTestNode({ isolation: "shared" });
  victim = await openVictim(squadron);
  history = await victim.history();
  pid = squadron.node.fleet.list()[0]?.pid;
});
/** The node, the runtime that both share, and the other user's session are as they were. */
afterEach(async () => {
  expect(squadron.node.fleet.list().map((runtime) => runtime.pid)).toEqual([pid]);
  expect(await victim.history()).toBe(history);
});
afterAll(async () => {
  expect(await victim.say("[[count]]")).toBe("3");
  await victim.client.close();
  await squadron.stop();
});

const valid = [
  { jsonrpc: "2.0", id: 1, method: "connect", params: { token: users.bob.key } },
  {
    jsonrpc: "2.0",
    id: 2,
    method: "session.create",
    params: { sessionId: "fuzz", tools: [{ name: "t", description: "d" }], hooks: true },
  },
  {
    jsonrpc: "2.0",
    id: 3,
    method: "session.send",
    params: { sessionId: "fuzz", prompt: "[[echo hello]]", attachments: [] },
  },
  { jsonrpc: "2.0", id: 4, method: "session.getMessages", params: { sessionId: "fuzz" } },
  {
    jsonrpc: "2.0",
    id: 5,
    method: "session.options.update",
    params: { sessionId: "fuzz", model: "scripted-1" },
  },
  { jsonrpc: "2.0", id: "six", method: "session.list", params: { filter: { cwd: "/" } } },
  { jsonrpc: "2.0", id: 7, result: { answer: "x", wasFreeform: true } },
  { jsonrpc: "2.0", id: 8, error: { code: -32_000, message: "no", data: null } },
  {
    jsonrpc: "2.0",
    method: "session.event",
    params: { sessionId: "fuzz", event: { type: "session.idle", data: {} } },
  },
].map((message) => frame(JSON.stringify(message)));

type Mutation = (bytes: Buffer) => Buffer;
const at = (bytes: Buffer, where: number): number => Math.floor(where * (bytes.length + 1));
const place = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
const telling = fc.constantFrom(
  "{",
  "}",
  "[",
  "]",
  '"',
  "\\",
  "\\u0000",
  "\\ud800",
  ":",
  ",",
  "null",
  "-",
  "1e999",
  "\r\n",
  "\r\n\r\n",
  "Content-Length: 3\r\n",
  "\0",
  '"__proto__":',
  '"id":',
  '"sessionId":',
);
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(place, fc.nat(255)).map(
    ([where, byte]): Mutation =>
      (bytes) => {
        const copy = Buffer.from(bytes);
        if (copy.length > 0) copy[Math.min(copy.length - 1, at(bytes, where))] = byte;
        return copy;
      },
  ),
  fc.tuple(place, telling).map(
    ([where, text]): Mutation =>
      (bytes) =>
        Buffer.concat([
          bytes.subarray(0, at(bytes, where)),
          Buffer.from(text),
          bytes.subarray(at(bytes, where)),
        ]),
  ),
  fc.tuple(place, place).map(
    ([from, to]): Mutation =>
      (bytes) =>
        Buffer.concat([
          bytes.subarray(0, at(bytes, Math.min(from, to))),
          bytes.subarray(at(bytes, Math.max(from, to))),
        ]),
  ),
  fc.tuple(place, place).map(
    ([from, to]): Mutation =>
      (bytes) =>
        Buffer.concat([bytes, bytes.subarray(at(bytes, Math.min(from, to)), at(bytes, Math.max(from, to)))]),
  ),
);
/** Changed inside the body with a header that fits, or anywhere. */
const mutated = fc
  .tuple(fc.constantFrom(...valid), fc.array(mutation, { maxLength: 3 }), fc.boolean())
  .map(([bytes, mutations, fits]) => {
    const body = bytes.indexOf("\r\n\r\n") + 4;
    const apply = (given: Buffer): Buffer => mutations.reduce((changed, change) => change(changed), given);
    return fits ? frame(apply(bytes.subarray(body))) : apply(bytes);
  });

it("frames with random damage end in an answer or in the end of the connection", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(mutated, { minLength: 1, maxLength: 6 }),
      fc.boolean(),
      async (frames, authenticated) => {
        await using client = await connectRaw(
          squadron.node.sdk.port,
          authenticated ? users.bob.key : users.carol.key,
        );
        client.socket.end(Buffer.concat(frames));
        await within(client.ended, { what: "the end of the connection" });
      },
    ),
    { seed, numRuns: 400 },
  );
}, 60_000);

/** They wait for somebody or end the session. */
const slow: ReadonlySet<string> = new Set([
  "session.ui.elicitation",
  "session.tasks.waitForPending",
  "session.eventLog.read",
  "session.commands.execute",
]);

it("known methods with random parameters are answered, and harm neither the runtime nor anybody", async () => {
  const open = async (): Promise<RawClient> => {
    const client = await connectRaw(squadron.node.sdk.port, users.bob.key);
    client.answerWith(() => ({}));
    await client.ask("session.create", { sessionId: "fuzz" });
    return client;
  };
  const entries = methodEntries().filter(
    ({ scope, method }) =>
      (scope === "session" || scope === "global") && method !== "connect" && !slow.has(method),
  );
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 3 }),
    fc.string({ unit: "binary", maxLength: 50 }),
    fc.constantFrom("", "../..", "\0", "x".repeat(100_000), -1, 1e308, 2 ** 53, [], {}, [null], {
      kind: "x",
    }),
  );
  const call = fc.constantFrom(...entries).chain((entry) => {
    const names = Object.keys(entry.params).filter((name) => name !== "sessionId");
    const params = fc.record(Object.fromEntries(names.map((name) => [name, value])), { requiredKeys: [] });
    return params.map((given) => ({ method: entry.method, params: { sessionId: "fuzz", ...given } }));
  });
  let client = await open();
  await fc.assert(
    fc.asyncProperty(fc.array(call, { minLength: 20, maxLength: 40 }), async (calls) => {
      if (client.closed) client = await open();
      const answers = await Promise.all(
        calls.map(({ method, params }) => client.call(method, params, 15_000)),
      );
      for (const answer of answers)
        if (answer.kind === "error")
          expect(answer.error).toMatchObject({ code: expect.any(Number), message: expect.any(String) });
      const again = await client.call("session.create", { sessionId: "fuzz" });
      expect(again.kind).toBe("result");
      expect(squadron.node.fleet.list().map((runtime) => runtime.pid)).toEqual([pid]);
    }),
    { seed, numRuns: 40 },
  );
  await client.close();
}, 60_000);
