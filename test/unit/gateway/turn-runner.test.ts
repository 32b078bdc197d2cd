import { describe, expect, it, vi } from "vitest";
import { createTurnRunner, type TurnRunnerOptions } from "../../../src/gateway/turn-runner.ts";
import type { Connection } from "../../../src/gateway/vocabulary.ts";
import { SquadronError } from "../../../src/kernel/errors.ts";
import type { TurnOutcome } from "../../../src/sessions/turn-queue.ts";
import type { Envelope } from "../../../src/wire/envelope.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const sender = (id: string): Connection => ({ id }) as Connection;
const alice = sender("alice");
const bob = sender("bob");
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

const setUp = (overrides: Partial<TurnRunnerOptions> = {}) => {
  const clock = new ManualClock();
  const submitted: { prompt: unknown; accept(id: string): void; refuse(error: Error): void }[] = [];
  const ended: TurnOutcome[] = [];
  const onRenamed = vi.fn();
  const onRefused = vi.fn();
  const onCancelled = vi.fn();
  const abortUpstream = vi.fn(async () => ({}) as Envelope);
  const runner = createTurnRunner({
    clock,
    queueLength: 10,
    turnTimeoutMs: 1000,
    accepted: async () => undefined,
    begun: async () => undefined,
    onStuck: () => undefined,
    submit: ({ prompt }, taking) => {
      taking();
      const { promise, resolve, reject } = Promise.withResolvers<string>();
      submitted.push({ prompt, accept: resolve, refuse: reject });
      return promise;
    },
    abortUpstream,
    onRenamed,
    onRefused,
    onCancelled,
    onEnd: (_turn, outcome) => ended.push(outcome),
    ...overrides,
  });
  const answer = (id: string, content: string): void => {
    runner.observe("user.message", { messageId: id });
    runner.observe("assistant.message", { content, originatingMessageId: id });
    runner.observe("assistant.usage", { inputTokens: 3, outputTokens: 2 });
    runner.idle({ mode: "interactive" });
  };
  return { clock, runner, submitted, ended, onRenamed, onRefused, onCancelled, abortUpstream, answer };
};

describe("the turn runner", () => {
  it("answers a message that need not wait with the runtime's id", async () => {
    const { runner, submitted, answer } = setUp();
    const sent = runner.send(alice, { prompt: "one" });
    await settle();
    submitted[0]?.accept("r1");
    const { messageId, turn } = await sent;
    expect(messageId).toBe("r1");
    answer("r1", "answer");
    expect(await turn.ended).toEqual({
      kind: "completed",
      content: "answer",
      usage: { inputTokens: 3, outputTokens: 2 },
    });
  });

  it("never gives the runtime two messages at once, and answers the waiting one at once under a name of ours", async () => {
    const { runner, submitted, onRenamed, answer } = setUp();
    const first = runner.send(alice, { prompt: "one" });
    const second = await runner.send(bob, { prompt: "two" });
    expect(submitted.map(({ prompt }) => prompt)).toEqual(["one"]);
    submitted[0]?.accept("r1");
    await first;
    answer("r1", "to one");
    await settle();
    expect(submitted.map(({ prompt }) => prompt)).toEqual(["one", "two"]);
    submitted[1]?.accept("r2");
    await settle();
    expect(onRenamed).toHaveBeenCalledWith("r2", second.messageId);
    answer("r2", "to two");
    expect(await second.turn.ended).toMatchObject({ kind: "completed", content: "to two" });
  });

  it("knows the message by its event when that overtakes the response", async () => {
    const { runner, submitted, answer } = setUp();
    const sent = runner.send(alice, { prompt: "one" });
    await settle();
    answer("r1", "early");
    expect((await sent).messageId).toBe("r1");
    submitted[0]?.accept("r1");
    await settle();
    expect(await (await sent).turn.ended).toMatchObject({ content: "early" });
  });

  it("does not end a turn with an idle of autopilot", async () => {
    const { runner, submitted } = setUp();
    const sent = runner.send(alice, { prompt: "one" });
    await settle();
    submitted[0]?.accept("r1");
    await sent;
    runner.idle({ mode: "autopilot" });
    expect(runner.current).toBeDefined();
  });

  it("aborts a turn that takes too long, and ends it even when the runtime never says that it is idle", async () => {
    const { clock, runner, submitted, ended, abortUpstream } = setUp();
    const sent = runner.send(alice, { prompt: "one" });
    await settle();
    submitted[0]?.accept("r1");
    await sent;
    clock.advance(1000);
    expect(abortUpstream).toHaveBeenCalledOnce();
    expect(ended).toEqual([]);
    clock.advance(10_000);
    expect(ended).toMatchObject([{ kind: "failed", reason: "timeout" }]);
  });

  it("rejects a send that the runtime refuses, and tells of one that had been acknowledged", async () => {
    const { runner, submitted, onRefused } = setUp();
    const first = runner.send(alice, { prompt: "one" });
    await runner.send(bob, { prompt: "two" });
    submitted[0]?.refuse(new Error("no"));
    await expect(first).rejects.toThrow("no");
    await settle();
    submitted[1]?.refuse(new Error("no again"));
    await settle();
    expect(onRefused).toHaveBeenCalledOnce();
    expect(runner.current).toBeUndefined();
  });

  it("drops what the aborting sender has waiting, and nobody else's", async () => {
    const { runner, submitted, onCancelled, answer } = setUp();
    const running = runner.send(alice, { prompt: "one" });
    await settle();
    submitted[0]?.accept("r1");
    await running;
    const mine = await runner.send(alice, { prompt: "two" });
    await runner.send(bob, { prompt: "three" });
    await runner.abort(alice);
    expect(await mine.turn.ended).toMatchObject({ kind: "aborted" });
    expect(onCancelled.mock.calls).toEqual([[mine.turn, expect.objectContaining({ kind: "aborted" })]]);
    runner.idle({ aborted: true });
    expect(await (await running).turn.ended).toMatchObject({ kind: "aborted" });
    await settle();
    expect(submitted.map(({ prompt }) => prompt)).toEqual(["one", "three"]);
    submitted[1]?.accept("r3");
    await settle();
    answer("r3", "three");
  });

  it("ends the running turn as interrupted when the runtime goes, and goes on with the waiting one", async () => {
    const { runner, submitted } = setUp();
    const first = runner.send(alice, { prompt: "one" });
    await runner.send(bob, { prompt: "two" });
    runner.interrupt("gone");
    await expect(first).rejects.toMatchObject({ code: "runtime_gone" });
    await settle();
    expect(submitted.map(({ prompt }) => prompt)).toEqual(["one", "two"]);
  });

  it("calls a message interrupted whose runtime died over taking it, in words for clients", async () => {
    const { runner, submitted, onRefused, answer } = setUp();
    const first = runner.send(alice, { prompt: "one" });
    const second = await runner.send(bob, { prompt: "two" });
    submitted[0]?.accept("r1");
    await first;
    answer("r1", "to one");
    await settle();
    submitted[1]?.refuse(new SquadronError("connection_closed", "inner words"));
    expect(await second.turn.ended).toMatchObject({ kind: "interrupted" });
    expect(onRefused).toHaveBeenCalledWith(second.turn, expect.objectContaining({ code: "runtime_gone" }));
  });

  it("acknowledges a message that must wait only when that is stored, and begins a turn only when that is", async () => {
    const accepted = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const { runner, submitted } = setUp({ accepted: () => accepted.promise, begun: () => begun.promise });
    const first = runner.send(alice, { prompt: "one" });
    const acknowledged = vi.fn();
    const second = runner.send(bob, { prompt: "two" }).then(acknowledged);
    await settle();
    expect([submitted.length, acknowledged.mock.calls.length]).toEqual([0, 0]);
    accepted.resolve();
    await second;
    expect([submitted.length, acknowledged.mock.calls.length]).toEqual([0, 1]);
    begun.resolve();
    await settle();
    submitted[0]?.accept("r1");
    expect((await first).messageId).toBe("r1");
  });

  it("refuses a message whose beginning cannot be stored, and does not give it to the runtime", async () => {
    const unavailable = new SquadronError("store_unavailable", "The store is locked.");
    const { runner, submitted, ended } = setUp({ begun: () => Promise.reject(unavailable) });
    await expect(runner.send(alice, { prompt: "one" })).rejects.toBe(unavailable);
    expect(submitted).toEqual([]);
    expect(ended).toEqual([{ kind: "refused", error: unavailable }]);
  });

  it("forgets a message that must wait when that cannot be stored", async () => {
    const unavailable = new SquadronError("store_unavailable", "The store is locked.");
    const { runner, submitted, answer } = setUp({ accepted: () => Promise.reject(unavailable) });
    const first = runner.send(alice, { prompt: "one" });
    await expect(runner.send(bob, { prompt: "two" })).rejects.toBe(unavailable);
    submitted[0]?.accept("r1");
    await first;
    answer("r1", "to one");
    await settle();
    expect([runner.current, submitted.length]).toEqual([undefined, 1]);
  });

  it("takes no idle for the end of a turn that has not been given to the runtime, nor gives it one that has ended", async () => {
    const begun = Promise.withResolvers<void>();
    const { runner, submitted, ended } = setUp({ begun: () => begun.promise });
    const sent = runner.send(alice, { prompt: "one" });
    expect(runner.ending({ mode: "interactive" })).toBeUndefined();
    runner.idle({ mode: "interactive" });
    expect(ended).toEqual([]);
    runner.interrupt("over");
    await expect(sent).rejects.toMatchObject({ code: "runtime_gone" });
    begun.resolve();
    await settle();
    expect(submitted).toEqual([]);
  });

  it("never begins what its sender has aborted while the session was being woken for it", async () => {
    const begun = Promise.withResolvers<void>();
    const { runner, submitted, ended, abortUpstream } = setUp({ begun: () => begun.promise });
    const sent = runner.send(alice, { prompt: "one" });
    const refused = expect(sent).rejects.toMatchObject({ code: "turn_aborted" });
    await runner.abort(bob);
    expect(ended).toEqual([]);
    await runner.abort(alice);
    await refused;
    begun.resolve();
    await settle();
    expect(ended).toMatchObject([{ kind: "aborted" }]);
    expect([submitted.length, abortUpstream.mock.calls.length]).toEqual([0, 2]);
  });

  it("tells of what had been acknowledged that it was aborted before it began", async () => {
    const begun = Promise.withResolvers<void>();
    let begins = 0;
    const { runner, submitted, answer, onRefused } = setUp({
      begun: () => (++begins === 1 ? Promise.resolve() : begun.promise),
    });
    const first = runner.send(alice, { prompt: "one" });
    await settle();
    submitted[0]?.accept("r1");
    await first;
    const { turn } = await runner.send(alice, { prompt: "two" });
    answer("r1", "to one");
    await runner.abort(alice);
    expect(onRefused.mock.calls).toMatchObject([[turn, { code: "turn_aborted" }]]);
    expect(await turn.ended).toMatchObject({ kind: "aborted" });
  });
});
