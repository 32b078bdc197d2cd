import { defineTool } from "@github/copilot-sdk";
import { describe, expect, test } from "vitest";
import { httpOf } from "../support/http-client.ts";
import { shiftedClock } from "../support/shifted-clock.ts";
import { tempDir } from "../support/temp.ts";
import { startTestNode, type TestNode, type UserName } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";

const approve = async () => ({ kind: "approve-once" }) as const;

describe("messages of a minute", () => {
  test("count over HTTP and SDK alike, steered ones too; a refused one leaves no row and is taken when it was told", async () => {
    const clock = shiftedClock();
    await using squadron = await startTestNode({ clock, limits: { turnsPerMinute: 4 } });
    const http = httpOf(squadron);
    const { body: made } = await http.call("alice", "POST", "/v1/sessions", {});
    const messages = `/v1/sessions/${made.id}/messages`;
    const session = await squadron
      .client("alice")
      .resumeSession(String(made.name), { onPermissionRequest: approve });
    const running = http.call("alice", "POST", messages, { prompt: "[[hold rate]] [[echo one]]" });
    await eventually(() => squadron.model.holding("rate") > 0, { what: "the first turn runs" });
    await session.send({ prompt: "[[echo steered]]", mode: "immediate" });
    squadron.model.release("rate");
    await running;
    // What never gets into the queue does not count.
    const other = await http.call("bob", "POST", "/v1/sessions", {});
    const busy = http.call("bob", "POST", `/v1/sessions/${other.body.id}/messages`, {
      prompt: "[[hold busy]] [[echo two]]",
    });
    await eventually(() => squadron.model.holding("busy") > 0, { what: "the second session is busy" });
    for (let again = 0; again < 3; again++)
      expect(
        await http.call("bob", "POST", `/v1/sessions/${other.body.id}/messages`, {
          prompt: "[[echo no]]",
          onBusy: "reject",
        }),
      ).toMatchObject({ status: 409 });
    squadron.model.release("busy");
    expect(await busy).toMatchObject({ status: 200 });
    expect(await http.call("bob", "POST", "/v1/prompts", { prompt: "[[echo three]]" })).toMatchObject({
      status: 200,
    });

    const rows = async () =>
      ((await http.call("alice", "GET", `/v1/sessions/${made.id}/turns`)).body.turns as unknown[]).length;
    const before = await rows();
    const refused = await http.call("alice", "POST", messages, { prompt: "[[echo four]]" });
    expect(refused).toMatchObject({
      status: 429,
      body: { code: "rate_limited", details: { limit: "turnsPerMinute", value: 4 } },
    });
    const wait = Number(refused.headers.get("retry-after"));
    expect(wait).toBeGreaterThan(30);
    expect(wait).toBeLessThanOrEqual(60);
    await expect(session.send("[[echo four]]")).rejects.toThrow(/your tenant has sent 4 messages/i);
    expect(await http.call("alice", "POST", `${messages}?wait=false`, { prompt: "x" })).toMatchObject({
      status: 429,
    });
    expect(await rows()).toBe(before);
    expect(await http.call("carol", "POST", "/v1/prompts", { prompt: "[[echo hi]]" })).toMatchObject({
      status: 200,
    });
    clock.forward(wait * 1_000);
    expect((await session.sendAndWait("[[echo again]]"))?.data.content).toBe("again");
  });

  test("do not count again when a new node runs what was promised", async () => {
    await using dir = await tempDir("restored");
    const options = { directory: dir.path, limits: { turnsPerMinute: 3 } };
    let messages = "";
    {
      await using squadron = await startTestNode(options);
      const http = httpOf(squadron);
      messages = `/v1/sessions/${(await http.call("alice", "POST", "/v1/sessions", {})).body.id}/messages`;
      const put = (prompt: string) => http.call("alice", "POST", `${messages}?wait=false`, { prompt });
      expect(await put("[[hold first]] [[echo one]]")).toMatchObject({ status: 202 });
      await eventually(() => squadron.model.holding("first") > 0, { what: "the first turn runs" });
      expect(await put("[[echo two]]")).toMatchObject({ status: 202 });
      expect(await put("[[echo three]]")).toMatchObject({ status: 202 });
      expect(await put("[[echo four]]")).toMatchObject({ status: 429 });
    }
    await using again = await startTestNode(options);
    const http = httpOf(again);
    await eventually(
      async () =>
        JSON.stringify((await http.call("alice", "GET", messages.replace("messages", "turns"))).body).match(
          /"completed"/g,
        )?.length === 2,
      { what: "what was promised has run" },
    );
    for (let sent = 0; sent < 3; sent++)
      expect(await http.call("alice", "POST", messages, { prompt: "[[echo more]]" })).toMatchObject({
        status: 200,
      });
    expect(await http.call("alice", "POST", messages, { prompt: "[[echo more]]" })).toMatchObject({
      status: 429,
    });
  });
});

describe("the tokens of a day", () => {
  const untilMidnight = (clock: { now(): number }) => 86_400 - Math.floor((clock.now() / 1_000) % 86_400);

  test("are used up over HTTP and SDK together, also for a node that starts again, until midnight", async () => {
    await using dir = await tempDir("rates");
    const clock = shiftedClock();
    const start = () =>
      startTestNode({
        clock,
        directory: dir.path,
        limits: { tokensPerDay: 1_000_000, tokensPerDayPerUser: 5 },
      });
    const use = async (squadron: TestNode) => {
      const http = httpOf(squadron);
      const session = await squadron
        .client("alice")
        .createSession({ sessionId: "budget", onPermissionRequest: approve });
      return { http, session };
    };
    let sent = "";
    {
      await using squadron = await start();
      const { http, session } = await use(squadron);
      expect((await session.sendAndWait("[[echo one]]"))?.data.content).toBe("one");
      const refused = await http.call("alice", "POST", "/v1/prompts", { prompt: "[[echo two]]" });
      expect(refused).toMatchObject({
        status: 429,
        body: { code: "quota_exceeded", details: { limit: "tokensPerDayPerUser", value: 5 } },
      });
      const wait = Number(refused.headers.get("retry-after"));
      expect(Math.abs(wait - untilMidnight(clock))).toBeLessThanOrEqual(5);
      await expect(session.send("[[echo two]]")).rejects.toThrow(
        /you have used up the 5 tokens of this day/i,
      );
      await expect(session.send({ prompt: "[[echo two]]", mode: "immediate" })).rejects.toThrow(/used up/);
      expect(await http.call("bob", "POST", "/v1/prompts", { prompt: "[[echo hi]]" })).toMatchObject({
        status: 200,
      });
      sent = squadron.model.requests.map(({ body }) => JSON.stringify(body)).join();
    }
    expect(sent).not.toContain("[[echo two]]");
    await using again = await start();
    const { http, session } = await use(again);
    expect(await http.call("alice", "POST", "/v1/prompts", { prompt: "[[echo two]]" })).toMatchObject({
      status: 429,
    });
    clock.forward((untilMidnight(clock) + 1) * 1_000);
    expect((await session.sendAndWait("[[echo three]]"))?.data.content).toBe("three");
  });

  test("end a turn in its middle: its next model call is refused, once, and the turn says why", async () => {
    await using squadron = await startTestNode({ limits: { tokensPerDay: 5 } });
    const called: unknown[] = [];
    const session = await squadron.client("alice").createSession({
      onPermissionRequest: approve,
      tools: [
        defineTool("look_up", {
          description: "looks up",
          parameters: { type: "object", properties: {} },
          handler: async (args) => {
            called.push(args);
            return "found";
          },
        }),
      ],
    });
    await expect(session.sendAndWait("[[call look_up {}]]")).rejects.toThrow(
      /your tenant has used up the 5 tokens of this day/i,
    );
    expect(called).toHaveLength(1);
    expect(squadron.model.requests.filter(({ path }) => /completions|responses/.test(path))).toHaveLength(1);
  });
});

describe("turns that run at once", () => {
  test("are no more than the tenant may have; the others wait and are served user by user", async () => {
    await using squadron = await startTestNode({ limits: { concurrentTurns: 2 } });
    const http = httpOf(squadron);
    const { model } = squadron;
    const sessionOf = async (user: "alice" | "bob") =>
      String((await http.call(user, "POST", "/v1/sessions", {})).body.id);
    const alices = await Promise.all(Array.from({ length: 5 }, () => sessionOf("alice")));
    const bobs = await sessionOf("bob");
    const say = (user: "alice" | "bob", id: string, name: string) =>
      http.call(user, "POST", `/v1/sessions/${id}/messages?wait=false`, {
        prompt: `[[hold ${name}]] [[echo ${name}]]`,
      });
    const stateOf = async (user: "alice" | "bob", id: string) => {
      const { body } = await http.call(user, "GET", `/v1/sessions/${id}/turns`);
      return (body.turns as { state: string; place: number | null }[]).map(({ state, place }) => [
        state,
        place,
      ]);
    };
    const holding = (...names: string[]) =>
      eventually(() => names.every((name) => model.holding(name) === 1), {
        what: `the model holds ${names}`,
      });

    for (const [at, id] of alices.entries())
      expect(await say("alice", id, `a${at}`)).toMatchObject({ status: 202 });
    expect(await say("bob", bobs, "b0")).toMatchObject({ status: 202 });
    await holding("a0", "a1");
    expect(await stateOf("alice", alices[0] ?? "")).toEqual([["running", null]]);
    for (const id of alices.slice(2)) expect(await stateOf("alice", id)).toEqual([["queued", 1]]);
    // A message to a session whose turn waits for a place is answered at once, as to a busy one.
    const session = await squadron.client("bob").createSession({ onPermissionRequest: approve });
    await session.send("[[hold b1]] [[echo b1]]");
    expect(await http.call("carol", "POST", "/v1/prompts", { prompt: "[[echo hi]]" })).toMatchObject({
      status: 200,
    });

    model.release("a0");
    await holding("a2");
    model.release("a1");
    await holding("b0");
    expect(await stateOf("bob", bobs)).toEqual([["running", null]]);
    // What is taken back leaves the line.
    expect(await http.call("alice", "POST", `/v1/sessions/${alices[3]}/abort`)).toMatchObject({
      status: 200,
    });
    model.release("b0");
    await holding("a4");
    model.release("a2");
    await holding("b1");
    model.release("a4");
    model.release("b1");
    await eventually(async () => (await stateOf("alice", alices[4] ?? "")).join() === "completed,", {
      what: "the last turn ends",
    });
    expect(model.requests.some(({ body }) => JSON.stringify(body).includes("[[echo a3]]"))).toBe(false);
  });

  test("of a tenant that floods a node with few places let a quiet tenant through at once", async () => {
    const places = 3;
    await using squadron = await startTestNode({ runtimes: { maxSessions: places } });
    const http = httpOf(squadron);
    const { model } = squadron;
    let over = false;
    const names = Array.from({ length: 12 }, (_, at) => `noisy-${at}`);
    const create = async (user: UserName): Promise<string> => {
      const { status, body } = await http.call(user, "POST", "/v1/sessions", {});
      expect([status, body]).toMatchObject([201, {}]);
      return String(body.id);
    };
    const sessions: { readonly name: string; readonly id: string }[] = [];
    for (const name of names) sessions.push({ name, id: await create("alice") });
    const quiet = await create("carol");
    const noisy = sessions.map(async ({ name, id }) => {
      while (!over)
        expect(
          await http.call("alice", "POST", `/v1/sessions/${id}/messages`, {
            prompt: `[[hold ${name}]]`,
          }),
        ).toMatchObject({ status: 200 });
    });
    const running = () => names.filter((name) => model.holding(name) > 0);
    const { hosts } = squadron.node.gateway.services;
    for (let round = 0; round < 4; round++) {
      await eventually(() => running().length === places && hosts.waiting >= names.length - places, {
        what: "the noisy tenant has every place, and all its others wait",
        deadlineMs: 30_000,
      });
      const waiting = hosts.waiting;
      const answer = http.call("carol", "POST", `/v1/sessions/${quiet}/messages`, {
        prompt: `[[echo quiet ${round}]]`,
      });
      await eventually(() => hosts.waiting === waiting + 1, { what: "the quiet tenant waits, too" });
      let answered = false;
      void answer.then(() => (answered = true));
      let freed = 0;
      while (!answered) {
        const [one = ""] = running();
        model.release(one);
        freed++;
        await eventually(() => answered || running().length === places, {
          what: "the place that became free is taken",
        });
      }
      expect(await answer).toMatchObject({ status: 200, body: { content: `quiet ${round}` } });
      // Nine of theirs had waited longer. Tenants are served by turns: one of them may have gone first.
      expect(freed).toBeLessThanOrEqual(2);
    }
    over = true;
    await eventually(
      () => {
        for (const name of running()) model.release(name);
        return hosts.list().every(({ busy }) => !busy);
      },
      { what: "all noisy turns end", deadlineMs: 30_000 },
    );
    await Promise.all(noisy);
  });
});
