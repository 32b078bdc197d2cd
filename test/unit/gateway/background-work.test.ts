import { describe, expect, it, vi } from "vitest";
import { createBackgroundWork } from "../../../src/gateway/background-work.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { settle } from "./fake-node.ts";

const setUp = () => {
  const clock = new ManualClock();
  const lists: { answer(...states: string[]): void; fail(): void }[] = [];
  const refreshes = vi.fn(async (): Promise<unknown> => ({}));
  const onIdle = vi.fn();
  const onError = vi.fn();
  const work = createBackgroundWork({
    clock,
    ask(method) {
      if (method === "session.tasks.refresh") return refreshes();
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      lists.push({
        answer: (...states) => resolve({ tasks: states.map((status) => ({ status })) }),
        fail: () => reject(new Error("no")),
      });
      return promise;
    },
    onIdle,
    onError,
  });
  return { clock, lists, refreshes, onIdle, onError, work };
};

describe("work that goes on behind an idle session", () => {
  it("is assumed while the runtime is asked, and known afterwards", async () => {
    const { work, lists, onIdle } = setUp();
    expect(work.running).toBe(false);
    work.changed();
    expect(work.running).toBe(true);
    lists[0]?.answer("running", "completed");
    await settle();
    expect([work.running, onIdle.mock.calls.length]).toEqual([true, 0]);
    work.changed();
    lists[1]?.answer("completed", "failed", "cancelled", "killed", "idle");
    await settle();
    expect([work.running, onIdle.mock.calls.length]).toEqual([false, 1]);
  });

  it("is what the latest answer says, whatever comes late", async () => {
    const { work, lists } = setUp();
    work.changed();
    work.changed();
    lists[1]?.answer("running");
    await settle();
    lists[0]?.answer();
    await settle();
    expect(work.running).toBe(true);
    work.clear();
    expect(work.running).toBe(false);
    work.changed();
    work.clear();
    work.changed();
    lists[2]?.answer();
    await settle();
    expect(work.running).toBe(true);
  });

  it("stays as it was known when the runtime does not answer", async () => {
    const { work, lists, onError } = setUp();
    work.changed();
    lists[0]?.answer("running");
    await settle();
    work.changed();
    lists[1]?.fail();
    await settle();
    expect([work.running, onError.mock.calls.length]).toEqual([true, 1]);
    work.changed();
    work.changed();
    lists[2]?.fail();
    await settle();
    lists[3]?.answer();
    await settle();
    expect(work.running).toBe(false);
  });

  it("is looked after again and again until it has ended", async () => {
    const { clock, work, lists, refreshes } = setUp();
    work.changed();
    lists[0]?.answer("running");
    await settle();
    clock.advance(180_000);
    expect(refreshes).toHaveBeenCalledTimes(3);
    work.changed();
    lists[1]?.answer("completed");
    await settle();
    expect(clock.pending).toBe(0);
  });

  it("leaves no timer behind when the session leaves its runtime", async () => {
    const { clock, work, lists } = setUp();
    work.changed();
    lists[0]?.answer("running");
    await settle();
    work.clear();
    expect(clock.pending).toBe(0);
  });
});
