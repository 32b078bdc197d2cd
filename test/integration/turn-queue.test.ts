import { setTimeout } from "node:timers/promises";
import type { CopilotSession } from "@github/copilot-sdk";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type HttpAnswer, type HttpClient, httpOf } from "../support/http-client.ts";
import { startTestNode, type TestNode } from "../support/test-node.ts";
import { eventually, within } from "../support/wait.ts";

/** A runtime does not tell the end in about one of twenty of them. */
const crossings = 24;

const approve = async () => ({ kind: "approve-once" }) as const;

let squadron: TestNode;
let http: HttpClient;
beforeAll(async () => {
  squadron = await startTestNode();
  http = httpOf(squadron);
});
afterAll(() => squadron.stop());

interface TurnFact {
  readonly id: string;
  readonly state: string;
  readonly place: number | null;
  readonly content: string | null;
  readonly joined: string | null;
}

/** A session with its ways to be spoken to. */
const newSession = async () => {
  const made = await http.call("alice", "POST", "/v1/sessions", {});
  const path = `/v1/sessions/${made.body.id}`;
  const holding = (name: string) =>
    eventually(() => squadron.model.holding(name) > 0, { what: `the model holds ${name}` });
  return {
    name: String(made.body.name),
    path,
    holding,
    say: (prompt: string, rest: object = {}, query = ""): Promise<HttpAnswer> =>
      http.call("alice", "POST", `${path}/messages${query}`, { prompt, ...rest }),
    put: async (prompt: string, rest: object = {}): Promise<string> => {
      const { status, body } = await http.call("alice", "POST", `${path}/messages?wait=false`, {
        prompt,
        ...rest,
      });
      expect(status).toBe(202);
      return String(body.turnId);
    },
    turn: async (id: string) =>
      (await http.call("alice", "GET", `${path}/turns/${id}`)).body as unknown as TurnFact,
    ended: (id: string) =>
      eventually(
        async () => {
          const { body } = await http.call("alice", "GET", `${path}/turns/${id}`);
          return body.endedAt !== null && (body as unknown as TurnFact);
        },
        { what: `turn ${id} ends` },
      ),
    queue: async () => (await http.call("alice", "GET", `${path}/queue`)).body,
    history: async () => {
      const { body } = await http.call("alice", "GET", `${path}/messages`);
      return (body.messages as { role: string; content: string }[]).map(
        ({ role, content }) => `${role}: ${content}`,
      );
    },
    resume: (): Promise<CopilotSession> =>
      squadron.client("alice").resumeSession(String(made.body.name), { onPermissionRequest: approve }),
  };
};

describe("a message that comes while another is answered", () => {
  test("waits, is seen with its place, runs in order and is a fact afterwards", async () => {
    const session = await newSession();
    const first = await session.put("[[hold order]] [[echo one]]");
    await session.holding("order");
    const [second, third] = [await session.put("[[echo two]]"), await session.put("[[echo three]]")];
    expect(await session.turn(first)).toMatchObject({ state: "running", place: null, by: "alice" });
    expect([(await session.turn(second)).place, (await session.turn(third)).place]).toEqual([1, 2]);
    expect(await session.queue()).toEqual({
      running: { turnId: first, by: "alice" },
      waiting: [
        { turnId: second, by: "alice" },
        { turnId: third, by: "alice" },
      ],
    });
    squadron.model.release("order");
    expect(await session.ended(third)).toMatchObject({ state: "completed", content: "three", place: null });
    expect(await session.turn(second)).toMatchObject({
      content: "two",
      usage: { outputTokens: expect.any(Number) },
      reason: null,
    });
    const { body } = await http.call("alice", "GET", `${session.path}/turns?limit=2`);
    expect((body.turns as TurnFact[]).map(({ id }) => id)).toEqual([third, second]);
    const rest = await http.call("alice", "GET", `${session.path}/turns?cursor=${body.next}`);
    expect((rest.body.turns as TurnFact[]).map(({ id }) => id)).toEqual([first]);
    const said = (await http.call("alice", "GET", `${session.path}/messages`)).body.messages;
    expect((said as { id: string }[]).filter((_, at) => at % 2 === 0).map(({ id }) => id)).toEqual([
      first,
      second,
      third,
    ]);
  });

  test("is refused with reject, which says who is served and how many wait", async () => {
    const session = await newSession();
    expect(await session.say("[[echo free]]", { onBusy: "reject" })).toMatchObject({ status: 200 });
    const running = session.say("[[hold reject]] [[echo one]]");
    await session.holding("reject");
    await session.put("[[echo two]]");
    expect(await session.say("[[echo never]]", { onBusy: "reject" })).toMatchObject({
      status: 409,
      body: { code: "busy", details: { servedUser: "alice", queueLength: 1 } },
    });
    squadron.model.release("reject");
    expect((await running).body.content).toBe("one");
    await eventually(async () => (await session.history()).at(-1) === "assistant: two", { what: "two" });
    expect((await session.history()).join()).not.toContain("never");
  });

  test("is touched by no abort of an SDK client of the same user, who has not sent it", async () => {
    const session = await newSession();
    const attached = await session.resume();
    const running = await session.put("[[hold untouched]] [[echo one]]");
    await session.holding("untouched");
    await attached.abort();
    squadron.model.release("untouched");
    expect(await session.ended(running)).toMatchObject({ state: "completed", content: "one" });
  });

  test("ends the running turn with interrupt, and goes before what waits", async () => {
    const session = await newSession();
    const running = session.say("[[hold interrupt]] [[echo one]]");
    await session.holding("interrupt");
    const waiting = await session.put("[[echo later]]");
    expect(await session.say("[[echo now]]", { onBusy: "interrupt" })).toMatchObject({
      status: 200,
      body: { content: "now" },
    });
    expect(await running).toMatchObject({ status: 409, body: { code: "turn_aborted" } });
    await session.ended(waiting);
    expect((await session.history()).slice(-4)).toEqual([
      "user: [[echo now]]",
      "assistant: now",
      "user: [[echo later]]",
      "assistant: later",
    ]);
  });

  test("is delivered into the running turn with steer, and takes its answer", async () => {
    const session = await newSession();
    const running = session.say("[[hold steer]] [[echo one]]");
    await session.holding("steer");
    const [{ id: joinedTo } = { id: "" }] = (await http.call("alice", "GET", `${session.path}/turns`)).body
      .turns as TurnFact[];
    const steered = session.say("[[echo both]]", { onBusy: "steer" });
    await eventually(
      async () =>
        ((await http.call("alice", "GET", `${session.path}/turns`)).body.turns as unknown[]).length === 2,
      { what: "the message is noted" },
    );
    const [{ id: own } = { id: "" }] = (await http.call("alice", "GET", `${session.path}/turns`)).body
      .turns as TurnFact[];
    expect(own).not.toBe(joinedTo);
    expect(await http.call("alice", "POST", `${session.path}/turns/${own}/abort`)).toMatchObject({
      status: 200,
      body: { aborted: false, turns: [] },
    });
    squadron.model.release("steer");
    const answers = await within(Promise.all([running, steered]), { what: "both are answered" });
    expect(answers.map(({ body }) => body.content)).toEqual(["both", "both"]);
    const turn = await session.turn(String(answers[1]?.body.turnId));
    expect(turn).toMatchObject({ state: "completed", joined: joinedTo, usage: { outputTokens: 0 } });
    expect((await session.say("[[count]]")).status).toBe(200);
  });
});

describe("the SDK", () => {
  test("steers with mode immediate: both sendAndWait get the answer of the one turn, and the next its own", async () => {
    const session = await newSession();
    const [one, two] = [await session.resume(), await session.resume()];
    const running = one.sendAndWait({ prompt: "[[hold sdk-steer]] [[echo one]]" });
    await session.holding("sdk-steer");
    const steered = two.sendAndWait({ prompt: "[[echo both]]", mode: "immediate" });
    await eventually(
      async () =>
        ((await http.call("alice", "GET", `${session.path}/turns`)).body.turns as unknown[]).length === 2,
      { what: "the message is noted" },
    );
    squadron.model.release("sdk-steer");
    const answers = await within(Promise.all([running, steered]), { what: "both are answered" });
    expect(answers.map((answer) => answer?.data.content)).toEqual(["both", "both"]);
    expect((await two.sendAndWait({ prompt: "[[echo next]]" }))?.data.content).toBe("next");
  });

  test("gives a message that comes too late to steer a turn of its own, and each sender its own answer", async () => {
    const session = await newSession();
    const [one, two] = [await session.resume(), await session.resume()];
    for (let round = 0; round < 10; round++) {
      const hold = `late-${round}`;
      const running = one.sendAndWait({ prompt: `[[hold ${hold}]] [[echo first ${round}]]` });
      await session.holding(hold);
      squadron.model.release(hold);
      const steered = two.sendAndWait({ prompt: `[[echo second ${round}]]`, mode: "immediate" });
      const [first, second] = await within(Promise.all([running, steered]), { what: "both are answered" });
      expect([`first ${round}`, `second ${round}`]).toContain(first?.data.content);
      expect(second?.data.content).toBe(`second ${round}`);
    }
    expect((await session.history()).filter((line) => line.startsWith("user:"))).toHaveLength(20);
  });

  test("ends a turn, and what was being steered into it, whenever in that it is aborted", async () => {
    const session = await newSession();
    for (let round = 0; round < crossings; round++) {
      const first = await session.put(`[[echo first]]${round % 2 === 0 ? "" : " [[tokens 4]] [[delay 3]]"}`);
      const steering = session.put("[[echo second]]", { onBusy: "steer" });
      await setTimeout(round % 12);
      const aborted = http.call("alice", "POST", `${session.path}/turns/${first}/abort`);
      const ends = await Promise.all([first, steering].map(async (id) => session.ended(await id)));
      expect((await aborted).status).toBe(200);
      for (const { state } of ends) expect(["completed", "aborted"]).toContain(state);
      expect((await session.say("[[echo next]]")).body.content).toBe("next");
    }
  });

  test("aborts its own turn only, and takes back only what it has waiting", async () => {
    const session = await newSession();
    const [one, two] = [await session.resume(), await session.resume()];
    const running = one.sendAndWait({ prompt: "[[hold abort]] [[echo one]]" });
    await session.holding("abort");
    const dropped = two.send({ prompt: "[[echo two]]" });
    await dropped;
    const kept = await session.put("[[echo three]]");
    await two.abort();
    expect(await session.queue()).toMatchObject({ waiting: [{ turnId: kept }] });
    squadron.model.release("abort");
    expect((await running)?.data.content).toBe("one");
    await session.ended(kept);
    expect((await session.history()).join()).not.toContain("two");
  });

  test("sees and changes the queue by session.queue", async () => {
    const session = await newSession();
    const [one, two] = [await session.resume(), await session.resume()];
    const running = one.sendAndWait({ prompt: "[[hold queue]] [[echo one]]" });
    await session.holding("queue");
    const ids: string[] = [];
    for (const word of ["a", "b", "c"]) ids.push(await two.send({ prompt: `[[echo ${word}]]` }));
    const items = async () => (await one.rpc.queue.pendingItems()).items;
    expect(await items()).toEqual(
      ids.map((id, at) => ({
        id,
        messageId: id,
        kind: "message",
        displayText: `[[echo ${"abc"[at]}]]`,
        agentMode: "interactive",
      })),
    );
    expect(await one.rpc.queue.removeMostRecent()).toEqual({ removed: false });
    expect(await two.rpc.queue.removeMostRecent()).toEqual({ removed: true });
    expect((await items()).map(({ id }) => id)).toEqual(ids.slice(0, 2));
    await two.rpc.queue.clear();
    expect(await items()).toEqual([]);
    squadron.model.release("queue");
    expect((await running)?.data.content).toBe("one");
    const events = await one.getEvents();
    expect(events.filter(({ type }) => type === "user.message")).toHaveLength(1);
  });
});

describe("a turn", () => {
  test("that waits is taken back by its sender, and whoever waits for it is told", async () => {
    const session = await newSession();
    const sdk = await session.resume();
    const running = session.say("[[hold back]] [[echo one]]");
    await session.holding("back");
    const waiting = session.say("[[echo two]]");
    const { body } = await eventually(
      async () => {
        const answer = await http.call("alice", "GET", `${session.path}/queue`);
        return (answer.body.waiting as unknown[]).length === 1 && answer;
      },
      { what: "it waits" },
    );
    const [{ turnId } = { turnId: "" }] = body.waiting as { turnId: string }[];
    const errors: string[] = [];
    sdk.on("session.error", ({ data }) => errors.push(data.message));
    expect((await http.call("alice", "POST", `${session.path}/turns/${turnId}/abort`)).body).toEqual({
      aborted: true,
      turns: [turnId],
    });
    expect(await within(waiting, { what: "it is told" })).toMatchObject({
      status: 409,
      body: { code: "turn_aborted" },
    });
    expect(await session.turn(turnId)).toMatchObject({ state: "aborted", begunAt: null });
    const sdkTurn = await sdk.send({ prompt: "[[echo three]]" });
    // An SDK client that is open has its own say over what it has sent.
    await sdk.disconnect();
    expect((await http.call("alice", "POST", `${session.path}/turns/${sdkTurn}/abort`)).body).toMatchObject({
      aborted: true,
    });
    squadron.model.release("back");
    expect((await running).body.content).toBe("one");
    expect((await http.call("alice", "POST", `${session.path}/turns/${turnId}/abort`)).body).toEqual({
      aborted: false,
      turns: [],
    });
    expect(await http.call("alice", "GET", `${session.path}/turns/nonsense`)).toMatchObject({ status: 404 });
    expect(await http.call("bob", "GET", `${session.path}/turns/${turnId}`)).toMatchObject({ status: 404 });
    expect(errors).toEqual([]);
  });

  test("that was promised runs when the node has been restarted; one that was not is refused", async () => {
    const former = await startTestNode();
    const { call } = httpOf(former);
    const made = await call("alice", "POST", "/v1/sessions", {});
    const path = `/v1/sessions/${made.body.id}`;
    const running = call("alice", "POST", `${path}/messages`, { prompt: "[[hold restart]] [[echo one]]" });
    await eventually(() => former.model.holding("restart") > 0, { what: "the first one runs" });
    const promised = await call("alice", "POST", `${path}/messages?wait=false`, { prompt: "[[echo kept]]" });
    const waiting = call("alice", "POST", `${path}/messages`, { prompt: "[[echo dropped]]" });
    await eventually(
      async () => ((await call("alice", "GET", `${path}/queue`)).body.waiting as unknown[]).length === 2,
      { what: "both wait" },
    );
    await former.node.close();
    expect(await running).toMatchObject({ status: 503 });
    expect(await waiting).toMatchObject({ status: 503, body: { code: "draining" } });
    const again = await startTestNode({ directory: former.directory, model: former.model });
    const later = httpOf(again);
    try {
      const turn = await eventually(
        async () => {
          const { body } = await later.call("alice", "GET", `${path}/turns/${promised.body.turnId}`);
          return body.endedAt !== null && body;
        },
        { what: "the promised message runs" },
      );
      expect(turn).toMatchObject({ state: "completed", content: "kept" });
      const { body } = await later.call("alice", "GET", `${path}/turns`);
      expect((body.turns as TurnFact[]).map(({ state }) => state)).toEqual([
        "failed",
        "completed",
        "interrupted",
      ]);
      expect((await later.call("alice", "POST", `${path}/messages`, { prompt: "[[echo on]]" })).status).toBe(
        200,
      );
    } finally {
      await again.stop();
      await former.stop();
    }
  });
});
