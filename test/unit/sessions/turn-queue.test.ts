import { describe, expect, it } from "vitest";
import { createTurnQueue, nextTurnState, type TurnOutcome } from "../../../src/sessions/turn-queue.ts";

const done: TurnOutcome = { kind: "completed", content: "ok", usage: { inputTokens: 1, outputTokens: 1 } };

describe("the turn queue", () => {
  it("runs one turn at a time, first in first out", () => {
    const queue = createTurnQueue<string>(10);
    const first = queue.add("1", "alice", {}, 0);
    const second = queue.add("2", "bob", {}, 0);
    expect(queue.begin()).toBe(first);
    expect(queue.begin()).toBeUndefined();
    queue.accepted(first, "r1");
    queue.end(first, done);
    expect(queue.begin()).toBe(second);
    expect(queue.waiting).toBe(0);
  });

  it("refuses more waiting turns than its limit, and says the limit", () => {
    const queue = createTurnQueue<string>(1);
    queue.add("1", "alice", {}, 0);
    expect(() => queue.add("2", "alice", {}, 0)).toThrow(
      expect.objectContaining({ code: "queue_full", details: { limit: 1 } }),
    );
  });

  it("cancels only the waiting turns that are named, and settles them", async () => {
    const queue = createTurnQueue<string>(10);
    const running = queue.add("1", "alice", {}, 0);
    queue.begin();
    const waiting = queue.add("2", "alice", {}, 0);
    const other = queue.add("3", "bob", {}, 0);
    expect(
      queue.cancelWaiting((turn) => turn.sender === "alice", { kind: "interrupted", message: "gone" }),
    ).toEqual([waiting]);
    expect(await waiting.ended).toEqual({ kind: "interrupted", message: "gone" });
    expect(running.state.kind).toBe("submitting");
    expect(other.state.kind).toBe("queued");
  });

  it("knows whether a sender still waits for a later turn", () => {
    const queue = createTurnQueue<string>(10);
    const first = queue.add("1", "alice", {}, 0);
    queue.begin();
    expect(queue.hasUnfinished("alice", first)).toBe(false);
    queue.add("2", "alice", {}, 0);
    expect(queue.hasUnfinished("alice", first)).toBe(true);
    expect(queue.hasUnfinished("bob", first)).toBe(false);
  });

  it("allows no change that a turn's state does not know", () => {
    expect(() => nextTurnState({ kind: "queued" }, { kind: "accepted", runtimeMessageId: "r" })).toThrow();
    expect(() => nextTurnState({ kind: "ended", outcome: done }, { kind: "end", outcome: done })).toThrow();
    expect(() => nextTurnState({ kind: "running", runtimeMessageId: "r" }, { kind: "submit" })).toThrow();
  });
});
