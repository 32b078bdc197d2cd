import { describe, expect, it, vi } from "vitest";
import { createUnqueuedTurn, mayBegin } from "../../../src/gateway/unqueued-turn.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { settle } from "./fake-node.ts";

const setUp = () => {
  const clock = new ManualClock();
  const onLapse = vi.fn();
  const abort = vi.fn();
  const onStuck = vi.fn();
  const turn = createUnqueuedTurn({ clock, turnTimeoutMs: 60_000, abort, onStuck, onLapse });
  const over = vi.fn();
  const wait = () => turn.over().then(over);
  const event = (type: string, data: unknown = {}, agentId?: string, queued = false) =>
    turn.observe(type, data, agentId, queued);
  return { clock, abort, onStuck, onLapse, turn, over, wait, event };
};

describe("a turn that no message in the queue has begun", () => {
  it("runs from its first event to the idle, and who waits for its end is told", async () => {
    const { turn, over, wait, event } = setUp();
    expect(event("assistant.turn_start")).toBe(false);
    wait();
    await settle();
    expect([turn.running, over.mock.calls.length]).toEqual([true, 0]);
    expect(event("session.idle", { mode: "autopilot" })).toBe(false);
    expect(event("session.idle", { mode: "interactive" })).toBe(true);
    await settle();
    expect([turn.running, over.mock.calls.length]).toEqual([false, 1]);
  });

  it("is none of the queue's, nor a subagent's", () => {
    const { turn, event } = setUp();
    event("user.message", {}, undefined, true);
    event("assistant.turn_start", {}, "agent");
    expect(turn.running).toBe(false);
  });

  it("is expected for a moment after a call that may begin one", async () => {
    const { clock, turn, over, wait, onLapse } = setUp();
    turn.called("session.mode.set");
    expect(turn.running).toBe(false);
    turn.called("session.sendMessages");
    wait();
    await settle();
    expect([turn.running, over.mock.calls.length]).toEqual([true, 0]);
    clock.advance(2_000);
    await settle();
    expect([turn.running, over.mock.calls.length, onLapse.mock.calls.length]).toEqual([false, 1, 1]);
  });

  it("is aborted when it takes longer than a turn may, and given up when that does not end it", () => {
    const { clock, abort, onStuck, turn, event } = setUp();
    event("user.message");
    event("assistant.turn_start");
    clock.advance(59_999);
    expect(abort).not.toHaveBeenCalled();
    clock.advance(1);
    expect(abort).toHaveBeenCalledOnce();
    clock.advance(9_999);
    expect(onStuck).not.toHaveBeenCalled();
    clock.advance(1);
    expect(onStuck).toHaveBeenCalledOnce();
    turn.clear();
    event("assistant.turn_start");
    clock.advance(60_000);
    event("session.idle", { aborted: true });
    clock.advance(60_000);
    expect([abort.mock.calls.length, onStuck.mock.calls.length, clock.pending]).toEqual([2, 1, 0]);
  });

  it("ends with the session's stay in its runtime", async () => {
    const { clock, turn, over, wait, event } = setUp();
    turn.called("session.sendMessages");
    event("user.message");
    wait();
    turn.clear();
    await settle();
    expect([turn.running, over.mock.calls.length, clock.pending]).toEqual([false, 1, 0]);
  });

  it("is begun by calls of these kinds only", () => {
    expect(["session.sendMessages", "session.queue.insertAt", "session.send"].map(mayBegin)).toEqual([
      true,
      true,
      false,
    ]);
  });
});
