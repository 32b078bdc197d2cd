import { describe, expect, it, vi } from "vitest";
import { isObject } from "../../../src/kernel/json.ts";
import { settle, startFakeNode } from "./fake-node.ts";

/** A turn, and a second message, of the same or of another client, whose admission the test decides about. */
const setUp = async (by: "the same" | "another" = "the same") => {
  const node = await startFakeNode({
    limits: {
      turnTimeoutMs: 60_000,
      queueLength: 10,
      callbackTimeoutMs: 1_000,
      maxSizeBytes: 1_000_000,
      maxFiles: 1_000,
      tokensPerDay: 5,
    },
  });
  const ends: unknown[] = [];
  const note = (params: unknown): void => {
    const event = isObject(params) && isObject(params.event) ? params.event : {};
    const { type, data } = event;
    if (type === "session.idle" || type === "session.error")
      ends.push([type, isObject(data) ? (data.aborted ?? data.message) : undefined]);
  };
  const two = node.connect({
    notify: (_method, params) => note(params),
    sendRaw: (body) => note(JSON.parse(body.toString()).params),
  });
  const one = by === "another" ? node.connect() : two;
  await one.request("session.create", { sessionId: "s" });
  if (by === "another") await two.request("session.resume", { sessionId: "s" });
  const { turn: first } = await one.send({ sessionId: "s", prompt: "one" });
  const totals = Promise.withResolvers<{ tenant: number; user: number }>();
  vi.spyOn(node.store.tokens, "of").mockImplementationOnce(() => totals.promise);
  const second = two.send({ sessionId: "s", prompt: "two" });
  const event = (type: string, data?: unknown): void =>
    node.event(node.gateway.hosts[0]?.row.id ?? "", type, data);
  const used = (tenant: number): void => totals.resolve({ tenant, user: 0 });
  return { node, first, second, event, used, ends };
};

describe("an end that comes while a message of the same client is being admitted", () => {
  it("is told when that is refused, however the turn has ended", async () => {
    const cases = [
      { data: {}, error: undefined, told: [["session.idle", undefined]] },
      { data: { aborted: true }, error: undefined, told: [["session.idle", true]] },
      { data: {}, error: { message: "no" }, told: [["session.error", "no"]] },
    ];
    for (const { data, error, told } of cases) {
      const { node, first, second, event, used, ends } = await setUp();
      await using _node = node;
      const refused = expect(second).rejects.toMatchObject({ code: "quota_exceeded" });
      if (error !== undefined) event("session.error", error);
      event("session.idle", data);
      await first.ended;
      await settle();
      expect(ends).toEqual([]);
      used(5);
      await refused;
      expect(ends).toEqual(told);
    }
  });

  it("is told as before to one who only watches when that is refused", async () => {
    const { node, first, second, event, used, ends } = await setUp("another");
    await using _node = node;
    used(5);
    await expect(second).rejects.toMatchObject({ code: "quota_exceeded" });
    event("session.idle");
    await first.ended;
    node.clock.advance(1_000);
    expect(ends).toEqual([["session.idle", undefined]]);
  });

  it("is told to nobody when that is taken: its own is the next", async () => {
    const { node, first, second, event, used, ends } = await setUp();
    await using _node = node;
    event("session.idle");
    await first.ended;
    used(1);
    const { turn } = await second;
    expect(ends).toEqual([]);
    event("session.idle");
    await turn.ended;
    expect(ends).toEqual([["session.idle", undefined]]);
  });
});
