import { defineTool } from "@github/copilot-sdk";
import { describe, expect, test } from "vitest";
import { httpOf } from "../support/http-client.ts";
import { shiftedClock } from "../support/shifted-clock.ts";
import { tempDir } from "../support/temp.ts";
import { startTestNode, type TestNode } from "../support/test-node.ts";
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
