import { describe, expect, it, vi } from "vitest";
import { createTurnRunner } from "../../../src/gateway/turn-runner.ts";
import type { TurnRunner, TurnRunnerOptions } from "../../../src/gateway/turn-vocabulary.ts";
import type { Connection, Sender } from "../../../src/gateway/vocabulary.ts";
import { SquadronError } from "../../../src/kernel/errors.ts";
import { createTurn, type Turn, type TurnOutcome } from "../../../src/sessions/turn.ts";
import type { Envelope } from "../../../src/wire/envelope.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const sender = (id: string): Connection => ({ id, principal: { tenant: "acme", user: id } }) as Connection;
const alice = sender("alice");
const bob = sender("bob");
const taken = { answer: "taken" } as const;
const of = (one: Connection) => (turn: Turn<Sender>) => turn.sender === one;
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

/** In steps, so that what a timer asks is answered before the next one. */
const pass = async (clock: ManualClock, ms: number): Promise<void> => {
  for (let left = ms; left > 0; left -= 500) {
    clock.advance(500);
    await settle();
  }
};

const setUp = (overrides: Partial<TurnRunnerOptions> = {}) => {
  const clock = new ManualClock();
  const submitted: { prompt: unknown; accept(id: string): void; refuse(error: Error): void }[] = [];
  const ended: TurnOutcome[] = [];
  const onNamed = vi.fn();
  const onRefused = vi.fn();
  const onCancelled = vi.fn(async () => undefined);
  const abortUpstream = vi.fn(async (_taking: () => void) => ({}) as Envelope);
  const isProcessing = vi.fn(async () => true);
  const onEndLost = vi.fn();
  const runner = createTurnRunner({
    clock,
    queueLength: 10,
    turnTimeoutMs: 1000,
    assertMaySend: () => undefined,
    place: () => ({ held: true, release: () => undefined }),
    accepted: async () => undefined,
    begun: async () => undefined,
    steering: async () => undefined,
    onStuck: () => undefined,
    submit: ({ prompt }, taking) => {
      taking();
      const { promise, resolve, reject } = Promise.withResolvers<string>();
      submitted.push({ prompt, accept: resolve, refuse: reject });
      return promise;
    },
    abortUpstream,
    isProcessing,
    eventsTakenIn: async () => undefined,
    onEndLost,
    onNamed,
    onRefused,
    onCancelled,
    onEnd: ({ outcome }) => ended.push(outcome),
    ...overrides,
  });
  const answer = (id: string, content: string): void => {
    runner.observe("user.message", { messageId: id });
    runner.observe("assistant.message", { content, originatingMessageId: id });
    runner.observe("assistant.usage", { inputTokens: 3, outputTokens: 2 });
    runner.idle({ mode: "interactive" });
  };
  return {
    clock,
    runner,
    submitted,
    ended,
    onNamed,
    onRefused,
    onCancelled,
    abortUpstream,
    isProcessing,
    onEndLost,
    answer,
  };
};

describe("the turn runner", () => {
  it("answers a message that need not wait with the runtime's id", async () => {
    const { runner, submitted, onNamed, answer } = setUp();
    const sent = runner.send(alice, { prompt: "one" }, taken);
    await settle();
    submitted[0]?.accept("r1");
    const { messageId, turn } = await sent;
    expect(messageId).toBe("r1");
    expect(onNamed.mock.calls).toEqual([[turn, "r1", "r1"]]);
    answer("r1", "answer");
    expect(await turn.ended).toEqual({
      kind: "completed",
      content: "answer",
      usage: { inputTokens: 3, outputTokens: 2 },
    });
  });

  it("never gives the runtime two messages at once, and answers the waiting one at once under a name of ours", async () => {
    const { runner, submitted, onNamed, answer } = setUp();
    const first = runner.send(alice, { prompt: "one" }, taken);
    const second = await runner.send(bob, { prompt: "two" }, taken);
    expect(submitted.map(({ prompt }) => prompt)).toEqual(["one"]);
    submitted[0]?.accept("r1");
    await first;
    answer("r1", "to one");
    await settle();
    expect(submitted.map(({ prompt }) => prompt)).toEqual(["one", "two"]);
    submitted[1]?.accept("r2");
    await settle();
    expect(onNamed).toHaveBeenCalledWith(second.turn, "r2", second.messageId);
    answer("r2", "to two");
    expect(await second.turn.ended).toMatchObject({ kind: "completed", content: "to two" });
  });

  it("knows the message by its event when that overtakes the response", async () => {
    const { runner, submitted, answer } = setUp();
    const sent = runner.send(alice, { prompt: "one" }, taken);
    await settle();
    answer("r1", "early");
    expect((await sent).messageId).toBe("r1");
    submitted[0]?.accept("r1");
    await settle();
    expect(await (await sent).turn.ended).toMatchObject({ content: "early" });
  });

  it("begins with a message only when it has a place, answers at once until then, and gives the place back", async () => {
    const given: { user: string; held: boolean; onHeld: () => void; released: boolean }[] = [];
    const { clock, runner, submitted, answer } = setUp({
      place: ({ principal }, onHeld) => {
        const place = { user: principal.user, held: false, onHeld, released: false };
        given.push(place);
        return Object.assign(place, {
          release: () => {
            place.released = true;
          },
        });
      },
    });
    const give = (at: number): void => {
      const place = given[at];
      if (place === undefined) throw new Error("Nobody has asked for it.");
      place.held = true;
      place.onHeld();
    };
    const { messageId, turn } = await runner.send(alice, { prompt: "one" }, taken);
    expect(messageId).toBe(turn.id);
    await runner.send(bob, { prompt: "two" }, taken);
    expect(given).toMatchObject([{ user: "alice" }]);
    // Waiting is no part of the time that a turn may take.
    clock.advance(5_000);
    expect([runner.current, submitted.length]).toEqual([undefined, 0]);
    give(0);
    await settle();
    submitted[0]?.accept("r1");
    await settle();
    answer("r1", "to one");
    expect(await turn.ended).toMatchObject({ kind: "completed" });
    expect(given).toMatchObject([{ released: true }, { user: "bob", released: false }]);
    await runner.abort(of(bob));
    expect(given[1]?.released).toBe(true);
    // The place is for who is first when it comes.
    await runner.send(bob, { prompt: "three" }, taken);
    await runner.send(alice, { prompt: "four" }, taken, true);
    expect(given.slice(2)).toMatchObject([
      { user: "bob", released: true },
      { user: "alice", released: false },
    ]);
    give(3);
    await settle();
    expect(submitted.map(({ prompt }) => prompt)).toEqual(["one", "four"]);
    runner.stop("The node closes.");
    expect(given.every(({ released }) => released)).toBe(true);
  });

  it("does not end a turn with an idle of autopilot", async () => {
    const { runner, submitted } = setUp();
    const sent = runner.send(alice, { prompt: "one" }, taken);
    await settle();
    submitted[0]?.accept("r1");
    await sent;
    runner.idle({ mode: "autopilot" });
    expect(runner.current).toBeDefined();
  });

  it("aborts a turn that takes too long, and ends it even when the runtime never says that it is idle", async () => {
    const { clock, runner, submitted, ended, abortUpstream } = setUp();
    const sent = runner.send(alice, { prompt: "one" }, taken);
    await settle();
    submitted[0]?.accept("r1");
    await sent;
    clock.advance(1000);
    expect(abortUpstream).toHaveBeenCalledOnce();
    expect(ended).toEqual([]);
    clock.advance(10_000);
    expect(ended).toMatchObject([{ kind: "failed", reason: "timeout" }]);
  });

  it("has the end of an aborted turn told when the runtime does nothing any more, and has not said so", async () => {
    const { clock, runner, submitted, isProcessing, onEndLost, abortUpstream } = setUp({
      turnTimeoutMs: 60_000,
    });
    const sent = runner.send(alice, { prompt: "one" }, taken);
    await settle();
    submitted[0]?.accept("r1");
    await sent;
    await pass(clock, 5_000);
    expect(isProcessing).not.toHaveBeenCalled();
    await runner.abort(of(alice));
    await pass(clock, 3_000);
    isProcessing.mockResolvedValueOnce(false);
    await pass(clock, 3_000);
    isProcessing.mockRejectedValueOnce(new Error("It cannot be asked now."));
    await pass(clock, 3_000);
    expect([isProcessing.mock.calls.length, onEndLost.mock.calls.length]).toEqual([9, 0]);
    isProcessing.mockResolvedValue(false);
    abortUpstream.mockRejectedValueOnce(new Error("not now"));
    await pass(clock, 2_000);
    expect([abortUpstream.mock.calls.length, onEndLost.mock.calls.length]).toEqual([2, 0]);
    await pass(clock, 1_000);
    expect([abortUpstream.mock.calls.length, onEndLost.mock.calls]).toEqual([3, [[true]]]);
    runner.observe("session.idle", { aborted: true });
    runner.idle({ aborted: true });
    expect([runner.current, clock.pending]).toEqual([undefined, 0]);
  });

  it("has no end told that has come already and waits until what was before it is stored: it would be the next turn's", async () => {
    const stored = Promise.withResolvers<void>();
    const { clock, runner, submitted, isProcessing, onEndLost } = setUp({
      turnTimeoutMs: 60_000,
      eventsTakenIn: () => stored.promise,
    });
    const sent = runner.send(alice, { prompt: "one" }, taken);
    await settle();
    submitted[0]?.accept("r1");
    await sent;
    const next = await runner.send(bob, { prompt: "two" }, taken);
    await runner.abort(of(alice));
    isProcessing.mockResolvedValue(false);
    await pass(clock, 3_000);
    runner.observe("session.idle", { aborted: true });
    runner.idle({ aborted: true });
    stored.resolve();
    await settle();
    expect([onEndLost.mock.calls.length, runner.current]).toEqual([0, next.turn]);
  });

  it("has the end of an aborted turn told however often it is aborted", async () => {
    const { clock, runner, submitted, isProcessing, onEndLost } = setUp({ turnTimeoutMs: 60_000 });
    const sent = runner.send(alice, { prompt: "one" }, taken);
    await settle();
    submitted[0]?.accept("r1");
    await sent;
    isProcessing.mockResolvedValue(false);
    for (let nth = 0; nth < 6; nth++) {
      await runner.abort(of(alice));
      await pass(clock, 500);
    }
    expect(onEndLost.mock.calls).toEqual([[true]]);
  });

  it("rejects a send that the runtime refuses, and tells of one that had been acknowledged", async () => {
    const { runner, submitted, onRefused } = setUp();
    const first = runner.send(alice, { prompt: "one" }, taken);
    await runner.send(bob, { prompt: "two" }, taken);
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
    const running = runner.send(alice, { prompt: "one" }, taken);
    await settle();
    submitted[0]?.accept("r1");
    await running;
    const mine = await runner.send(alice, { prompt: "two" }, taken);
    await runner.send(bob, { prompt: "three" }, taken);
    await runner.abort(of(alice));
    expect(await mine.turn.ended).toMatchObject({ kind: "aborted" });
    expect(onCancelled.mock.calls).toEqual([[mine.turn, expect.objectContaining({ kind: "aborted" })]]);
    runner.observe("session.idle", { aborted: true });
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
    const first = runner.send(alice, { prompt: "one" }, taken);
    await runner.send(bob, { prompt: "two" }, taken);
    runner.interrupt("gone");
    await expect(first).rejects.toMatchObject({ code: "runtime_gone" });
    await settle();
    expect(submitted.map(({ prompt }) => prompt)).toEqual(["one", "two"]);
  });

  it("calls a message interrupted whose runtime died over taking it, in words for clients", async () => {
    const { runner, submitted, onRefused, answer } = setUp();
    const first = runner.send(alice, { prompt: "one" }, taken);
    const second = await runner.send(bob, { prompt: "two" }, taken);
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
    const first = runner.send(alice, { prompt: "one" }, taken);
    const acknowledged = vi.fn();
    const second = runner.send(bob, { prompt: "two" }, taken).then(acknowledged);
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
    await expect(runner.send(alice, { prompt: "one" }, taken)).rejects.toBe(unavailable);
    expect(submitted).toEqual([]);
    expect(ended).toEqual([{ kind: "refused", error: unavailable }]);
  });

  it("forgets a message that must wait when that cannot be stored", async () => {
    const unavailable = new SquadronError("store_unavailable", "The store is locked.");
    const { runner, submitted, answer } = setUp({ accepted: () => Promise.reject(unavailable) });
    const first = runner.send(alice, { prompt: "one" }, taken);
    await expect(runner.send(bob, { prompt: "two" }, taken)).rejects.toBe(unavailable);
    submitted[0]?.accept("r1");
    await first;
    answer("r1", "to one");
    await settle();
    expect([runner.current, submitted.length]).toEqual([undefined, 1]);
  });

  it("takes no idle for the end of a turn that has not been given to the runtime, nor gives it one that has ended", async () => {
    const begun = Promise.withResolvers<void>();
    const { runner, submitted, ended } = setUp({ begun: () => begun.promise });
    const sent = runner.send(alice, { prompt: "one" }, taken);
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
    const sent = runner.send(alice, { prompt: "one" }, taken);
    const refused = expect(sent).rejects.toMatchObject({ code: "turn_aborted" });
    await runner.abort(of(bob));
    expect(ended).toEqual([]);
    await runner.abort(of(alice));
    await refused;
    begun.resolve();
    await settle();
    expect(ended).toMatchObject([{ kind: "aborted" }]);
    expect([submitted.length, abortUpstream.mock.calls.length]).toEqual([0, 0]);
  });

  it("tells of what had been acknowledged that it was aborted before it began", async () => {
    const begun = Promise.withResolvers<void>();
    let begins = 0;
    const { runner, submitted, answer, onRefused } = setUp({
      begun: () => (++begins === 1 ? Promise.resolve() : begun.promise),
    });
    const first = runner.send(alice, { prompt: "one" }, taken);
    await settle();
    submitted[0]?.accept("r1");
    await first;
    const { turn } = await runner.send(alice, { prompt: "two" }, taken);
    answer("r1", "to one");
    await runner.abort(of(alice));
    expect(onRefused.mock.calls).toMatchObject([[turn, { code: "turn_aborted" }]]);
    expect(await turn.ended).toMatchObject({ kind: "aborted" });
  });

  /** A turn of alice's that runs, and a message of bob's that is delivered into it. */
  const steered = async (overrides: Partial<TurnRunnerOptions> = {}) => {
    const here = setUp(overrides);
    const running = here.runner.send(alice, { prompt: "one" }, taken);
    await settle();
    const steering = here.runner.steer(bob, { prompt: "two" }, taken);
    await settle();
    expect(here.submitted.map(({ prompt }) => prompt)).toEqual(["one"]);
    // Nobody takes another's end for the answer to what has not arrived yet.
    expect([here.runner.asks(bob), here.runner.waits(bob)]).toEqual([true, true]);
    here.submitted[0]?.accept("r1");
    const { turn: first } = await running;
    await settle();
    expect(here.submitted.map(({ prompt }) => prompt)).toEqual(["one", "two"]);
    return { ...here, first, steering };
  };

  it("delivers one message after the other, so that each is known by its own id", async () => {
    const { runner, submitted } = setUp();
    const running = runner.send(alice, { prompt: "one" }, taken);
    await settle();
    submitted[0]?.accept("r1");
    await running;
    const steering = [
      runner.steer(bob, { prompt: "two" }, taken),
      runner.steer(alice, { prompt: "three" }, taken),
      runner.steer(bob, { prompt: "four" }, taken),
    ];
    for (const nth of [1, 2, 3]) {
      await settle();
      expect(submitted).toHaveLength(nth + 1);
      // Its event may come before the answer to its call.
      runner.observe("user.message", { messageId: `r${nth + 1}` });
      submitted[nth]?.accept(`r${nth + 1}`);
    }
    const sent = await Promise.all(steering);
    expect(sent.map(({ messageId, turn }) => [messageId, turn.parameters.prompt])).toEqual([
      ["r2", "two"],
      ["r3", "three"],
      ["r4", "four"],
    ]);
  });

  it("delivers no message into a turn that is being aborted: it runs after that", async () => {
    const { runner, submitted } = setUp();
    const running = runner.send(alice, { prompt: "one" }, taken);
    await settle();
    submitted[0]?.accept("r1");
    await running;
    await runner.abort(of(alice));
    const steering = runner.steer(bob, { prompt: "two" }, taken);
    await settle();
    expect(submitted.map(({ prompt }) => prompt)).toEqual(["one"]);
    runner.idle({ aborted: true });
    await settle();
    expect(submitted.map(({ prompt }) => prompt)).toEqual(["one", "two"]);
    submitted[1]?.accept("r2");
    expect(await steering).toMatchObject({ messageId: "r2" });
  });

  it("delivers a message into the running turn as soon as that has begun, and gives both its answer", async () => {
    const { runner, submitted, ended, first, steering } = await steered();
    submitted[1]?.accept("r2");
    const { messageId, turn: second } = await steering;
    expect([messageId, runner.serves(bob), runner.waits(bob)]).toEqual(["r2", false, true]);
    runner.observe("user.message", { messageId: "r2" });
    expect([runner.serves(alice), runner.serves(bob), runner.waits(bob)]).toEqual([true, false, true]);
    runner.observe("assistant.message", { content: "to both" });
    expect([runner.serves(alice), runner.serves(bob), runner.waits(bob)]).toEqual([true, true, false]);
    expect(runner.ending({})).toMatchObject({
      turn: first,
      joined: [second],
      outcome: { content: "to both" },
    });
    runner.idle({});
    expect([await first.ended, await second.ended]).toMatchObject([
      { content: "to both" },
      { content: "to both" },
    ]);
    expect([ended.length, runner.current]).toEqual([1, undefined]);
  });

  it("takes a message that came too late for the turn as the next one, before all that wait", async () => {
    const { runner, submitted, first, steering, answer } = await steered();
    const { turn: third } = await runner.send(alice, { prompt: "three" }, taken);
    runner.observe("assistant.message", { content: "to one" });
    expect(runner.ending({})).toMatchObject({ turn: first, joined: [] });
    runner.idle({});
    expect(await first.ended).toMatchObject({ kind: "completed", content: "to one" });
    await settle();
    expect(submitted).toHaveLength(2);
    answer("r2", "to two");
    const { messageId, turn: second } = await steering;
    submitted[1]?.accept("r2");
    expect(messageId).toBe("r2");
    expect(await second.ended).toMatchObject({ kind: "completed", content: "to two" });
    await settle();
    expect(submitted.map(({ prompt }) => prompt)).toEqual(["one", "two", "three"]);
    expect(third.state.kind).toBe("submitting");
  });

  it("takes a message as the next turn whose event came before the idle of the turn that it was too late for", async () => {
    const { runner, submitted, first, steering } = await steered();
    submitted[1]?.accept("r2");
    const { turn: second } = await steering;
    runner.observe("assistant.message", { content: "to one" });
    runner.observe("user.message", { messageId: "r2" });
    runner.observe("assistant.message", { content: "of a subagent", parentToolCallId: "t" });
    expect(runner.ending({})).toMatchObject({ turn: first, joined: [], outcome: { content: "to one" } });
    runner.idle({});
    expect(await first.ended).toMatchObject({ kind: "completed", content: "to one" });
    expect([runner.current, second.state.kind]).toEqual([second, "running"]);
    runner.observe("assistant.message", { content: "to two" });
    runner.idle({});
    expect(await second.ended).toMatchObject({ kind: "completed", content: "to two" });
  });

  it("neither aborts nor delivers into a turn whose end is being stored: that would meet the next one", async () => {
    const { runner, submitted, first, abortUpstream } = await steered();
    submitted[1]?.accept("r2");
    await settle();
    runner.observe("session.idle", {});
    expect(await runner.abort(of(alice))).toEqual([]);
    expect(abortUpstream).not.toHaveBeenCalled();
    const steering = runner.steer(alice, { prompt: "three" }, taken);
    await settle();
    expect(submitted).toHaveLength(2);
    runner.idle({});
    expect(await first.ended).toMatchObject({ kind: "completed" });
    await settle();
    expect(submitted[2]?.prompt).toBe("three");
    submitted[2]?.accept("r3");
    expect((await steering).messageId).toBe("r3");
  });

  it("ends a delivered message as its turn ends when that does not complete, taken up or not", async () => {
    for (const end of [
      (runner: TurnRunner) => runner.interrupt("gone"),
      (runner: TurnRunner) => {
        runner.observe("session.idle", { aborted: true });
        runner.idle({ aborted: true });
      },
      (runner: TurnRunner) => {
        runner.observe("session.error", { message: "no" });
        runner.idle({});
      },
    ]) {
      const { runner, submitted, first, steering } = await steered();
      submitted[1]?.accept("r2");
      const { turn: second } = await steering;
      end(runner);
      expect(await second.ended).toEqual(await first.ended);
      expect((await first.ended).kind).not.toBe("completed");
      expect(runner.current).toBeUndefined();
    }
  });

  it("has the end of a delivered message told that the runtime forgets without beginning with it", async () => {
    const { clock, runner, submitted, steering, isProcessing, onEndLost } = await steered({
      turnTimeoutMs: 60_000,
    });
    submitted[1]?.accept("r2");
    await steering;
    runner.idle({});
    isProcessing.mockResolvedValue(false);
    await pass(clock, 3_000);
    expect(onEndLost.mock.calls).toEqual([[false]]);
    runner.observe("user.message", { messageId: "r2" });
    runner.observe("assistant.turn_start", {});
    onEndLost.mockClear();
    await pass(clock, 5_000);
    expect(onEndLost).not.toHaveBeenCalled();
  });

  it("calls no message forgotten that is still on its way to the runtime, nor begun as a sub-agent goes on", async () => {
    const { clock, runner, submitted, isProcessing, onEndLost, abortUpstream } = await steered({
      turnTimeoutMs: 60_000,
    });
    runner.idle({});
    isProcessing.mockResolvedValue(false);
    await pass(clock, 5_000);
    expect([abortUpstream.mock.calls.length, onEndLost.mock.calls.length]).toEqual([0, 0]);
    submitted[1]?.accept("r2");
    await settle();
    runner.observe("assistant.turn_start", {}, "agent");
    await pass(clock, 3_000);
    expect(onEndLost.mock.calls).toEqual([[false]]);
  });

  it("tells who steers that the runtime refuses, and lets the turn be", async () => {
    const { runner, submitted, first, steering, onCancelled } = await steered();
    submitted[1]?.refuse(new Error("no"));
    await expect(steering).rejects.toThrow("no");
    await settle();
    expect(onCancelled.mock.calls).toMatchObject([[{ sender: bob }, { kind: "refused" }]]);
    expect([runner.current, runner.asks(bob)]).toEqual([first, false]);
  });

  it("ends what the runtime has taken back before it was delivered", async () => {
    const { runner, submitted, steering, onCancelled } = await steered();
    submitted[1]?.accept("r2");
    const { turn } = await steering;
    runner.unsteered("last");
    expect(await turn.ended).toMatchObject({ kind: "aborted" });
    expect(onCancelled).toHaveBeenCalledOnce();
    runner.unsteered("all");
    expect(onCancelled).toHaveBeenCalledOnce();
  });

  it("steers by sending when nothing runs", async () => {
    const { runner, submitted } = setUp();
    const sent = runner.steer(alice, { prompt: "one" }, taken);
    await settle();
    submitted[0]?.accept("r1");
    expect((await sent).messageId).toBe("r1");
  });

  it("answers at once under our id when nothing else is wanted, and promises only what is stored", async () => {
    const accepted = vi.fn(async (_turn: Turn<Sender>) => undefined);
    const { runner } = setUp({ accepted });
    const waits = await runner.send(alice, { prompt: "one" }, { answer: "ended" });
    const promised = await runner.send(alice, { prompt: "two" }, { answer: "stored" });
    expect([waits, promised].map(({ messageId, turn }) => messageId === turn.id)).toEqual([true, true]);
    expect([waits, promised].map(({ turn }) => turn.promised)).toEqual([false, true]);
    expect(accepted.mock.calls).toEqual([[promised.turn]]);
  });

  it("leaves what is promised to the next holder when the node closes, who runs it, and refuses the rest", async () => {
    const { runner, submitted, onCancelled } = setUp();
    const running = runner.send(alice, { prompt: "one" }, taken);
    await settle();
    submitted[0]?.accept("r1");
    const { turn } = await running;
    const promised = await runner.send(alice, { prompt: "two" }, { answer: "stored" });
    const unpromised = await runner.send(bob, { prompt: "three" }, { answer: "ended" });
    runner.stop("closing");
    expect(await turn.ended).toMatchObject({ kind: "interrupted", message: "closing" });
    expect(await promised.turn.ended).toMatchObject({
      kind: "refused",
      error: { code: "draining", details: { stored: true } },
    });
    expect(onCancelled.mock.calls).toMatchObject([[unpromised.turn, { kind: "refused" }]]);
    await expect(runner.send(bob, { prompt: "four" }, taken)).rejects.toMatchObject({ code: "draining" });

    const next = setUp();
    const former = { id: "former", principal: alice.principal, open: false };
    const parameters = { prompt: "two" };
    next.runner.restore([createTurn({ id: promised.turn.id, sender: former, parameters, queuedAt: 0 })]);
    await settle();
    next.submitted[0]?.accept("r2");
    await settle();
    expect(next.onNamed).toHaveBeenCalledWith(
      expect.objectContaining({ sender: former }),
      "r2",
      promised.turn.id,
    );
  });

  it("begins with nothing that it takes over when the node closes meanwhile, nor takes a turn over twice", async () => {
    const former = { id: "former", principal: alice.principal, open: false };
    const left = (id: string) => createTurn({ id, sender: former, parameters: { prompt: id }, queuedAt: 0 });
    const closing = setUp();
    closing.runner.stop("closing");
    closing.runner.restore([left("t1")]);
    await settle();
    expect(closing.submitted).toEqual([]);
    expect(closing.runner.current).toBeUndefined();

    const { runner } = setUp();
    runner.restore([left("t1"), left("t2")]);
    runner.restore([left("t1"), left("t2"), left("t3")]);
    expect([runner.current, ...runner.waiting].map((turn) => turn?.id)).toEqual(["t1", "t2", "t3"]);
  });

  it("ends the row of a message that was to be delivered into a turn, when that ended and there is no place to wait", async () => {
    const stored = Promise.withResolvers<void>();
    const { runner, submitted, onCancelled, answer } = setUp({
      queueLength: 1,
      steering: () => stored.promise,
    });
    const running = runner.send(alice, { prompt: "one" }, taken);
    await settle();
    submitted[0]?.accept("r1");
    await running;
    let turn: Turn<Sender> | undefined;
    const steered = runner.steer(
      bob,
      { prompt: "two" },
      { answer: "stored", onTurn: (made) => (turn = made) },
    );
    await settle();
    runner.stop("closing");
    answer("r1", "done");
    stored.resolve();
    await expect(steered).rejects.toMatchObject({ code: "draining" });
    expect(turn?.state).toMatchObject({ kind: "ended", outcome: { kind: "refused" } });
    expect(onCancelled.mock.calls).toEqual([[turn, await turn?.ended]]);
  });

  it("does not say that the next node answers what is stored as begun", async () => {
    const stored = Promise.withResolvers<void>();
    const { runner, submitted, onCancelled, answer } = setUp({ steering: () => stored.promise });
    const running = runner.send(alice, { prompt: "one" }, taken);
    await settle();
    submitted[0]?.accept("r1");
    await running;
    const steered = ["two", "three"].map((prompt) => runner.steer(bob, { prompt }, { answer: "stored" }));
    await settle();
    answer("r1", "done");
    stored.resolve();
    const [next, waiting] = await Promise.all(steered);
    expect([runner.current, ...runner.waiting]).toEqual([next?.turn, waiting?.turn]);
    runner.stop("closing");
    const outcome = await waiting?.turn.ended;
    expect(outcome).toMatchObject({ kind: "refused", error: { code: "draining", details: {} } });
    expect(outcome).not.toHaveProperty("error.details.stored");
    expect(onCancelled.mock.calls).toEqual([[waiting?.turn, outcome]]);
  });

  it("aborts no later turn when that on which it was asked has ended before the runtime was told", async () => {
    const way = Promise.withResolvers<void>();
    const told = vi.fn();
    const { runner, submitted } = setUp({
      async abortUpstream(taking) {
        await way.promise;
        taking();
        told();
      },
    });
    const running = runner.send(alice, { prompt: "one" }, taken);
    await settle();
    submitted[0]?.accept("r1");
    await running;
    const next = await runner.send(bob, { prompt: "two" }, { answer: "stored" });
    const aborted = runner.abort(of(alice));
    runner.interrupt("gone");
    await settle();
    expect(runner.current).toBe(next.turn);
    way.resolve();
    await aborted;
    expect(told).not.toHaveBeenCalled();
  });

  it("says that a waiting message is taken back only when that is stored: the next node would answer it", async () => {
    const stored = Promise.withResolvers<undefined>();
    const { runner } = setUp({ onCancelled: () => stored.promise });
    for (const prompt of ["one", "two"]) await runner.send(alice, { prompt }, { answer: "stored" });
    const [waiting] = runner.waiting;
    const aborted = vi.fn();
    const abort = runner.abort((turn) => turn === waiting).then(aborted);
    await settle();
    expect([runner.waiting, aborted.mock.calls.length]).toEqual([[], 0]);
    stored.resolve(undefined);
    await abort;
    expect(aborted).toHaveBeenCalledWith([waiting]);
  });

  it("runs a message that was on its way into a turn when that completed, though the session must wake for it", async () => {
    const awake = Promise.withResolvers<void>();
    const given: unknown[] = [];
    const { runner, answer } = setUp({
      async submit({ prompt }, taking) {
        if (prompt === "two") await awake.promise;
        taking();
        given.push(prompt);
        return `r${given.length}`;
      },
    });
    await runner.send(alice, { prompt: "one" }, taken);
    const { turn } = await runner.steer(bob, { prompt: "two" }, { answer: "stored" });
    answer("r1", "to one");
    expect(runner.current).toBe(turn);
    awake.resolve();
    await settle();
    expect(given).toEqual(["one", "two"]);
    answer("r2", "to two");
    expect(await turn.ended).toMatchObject({ kind: "completed", content: "to two" });
  });

  it("refuses all that waits when the session is no more, promised or not", async () => {
    const { runner, onCancelled } = setUp();
    const running = runner.send(alice, { prompt: "one" }, taken);
    const promised = await runner.send(bob, { prompt: "two" }, { answer: "stored" });
    const deleted = new SquadronError("session_deleted", "deleted");
    runner.end("deleted", deleted);
    await expect(running).rejects.toMatchObject({ code: "runtime_gone" });
    expect(await promised.turn.ended).toEqual({ kind: "refused", error: deleted });
    expect(onCancelled).toHaveBeenCalledOnce();
    await expect(runner.send(bob, { prompt: "three" }, taken)).rejects.toBe(deleted);
  });

  it("refuses more than may wait, and says how many that is; who has nothing waiting is not kept out", async () => {
    const { runner } = setUp({ queueLength: 1 });
    const send = (by: Connection) => runner.send(by, { prompt: "p" }, { answer: "ended" });
    const full = { code: "queue_full", details: { limit: 1 } };
    for (const _ of ["runs", "waits"]) await send(alice);
    await expect(send(alice)).rejects.toMatchObject(full);
    await send(bob);
    for (const one of [alice, bob]) await expect(send(one)).rejects.toMatchObject(full);
    expect(runner.waiting).toHaveLength(2);
  });
});
