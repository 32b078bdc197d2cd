import { describe, expect, it } from "vitest";
import { createTurn, nextTurnState, type Turn, type TurnOutcome } from "../../../src/sessions/turn.ts";
import { createTurnQueue } from "../../../src/sessions/turn-queue.ts";
import { createRandom } from "../../fault/random.ts";

const done: TurnOutcome = { kind: "completed", content: "ok", usage: { inputTokens: 1, outputTokens: 1 } };

const queueOf = () => createTurnQueue<string>((sender) => sender.replace(/\d+$/, ""));
const turn = (sender: string, id = sender) => createTurn({ id, sender, parameters: {}, queuedAt: 0 });
const ids = (turns: readonly Turn<string>[]) => turns.map(({ id }) => id).join(" ");

const filled = (...ids: readonly string[]) => {
  const queue = queueOf();
  for (const id of ids) queue.add(turn(id));
  return queue;
};

describe("the turn queue", () => {
  it("runs one turn at a time, first in first out", () => {
    const queue = filled("alice1", "alice2");
    const first = queue.begin();
    expect(first?.id).toBe("alice1");
    expect(queue.begin()).toBeUndefined();
    if (first !== undefined) queue.end(first, done);
    expect(queue.begin()?.id).toBe("alice2");
    expect(queue.waiting).toEqual([]);
  });

  it("serves users by turns, each one's messages in their order", () => {
    const queue = filled("alice1", "alice2", "alice3", "alice4", "bob1", "bob2", "carol1");
    expect(ids(queue.waiting)).toBe("alice1 bob1 carol1 alice2 bob2 alice3 alice4");
  });

  it("lets nobody catch up on rounds in which they had nothing to say", () => {
    const queue = filled("alice1", "alice2", "alice3");
    for (const _ of [1, 2]) {
      const current = queue.begin();
      if (current !== undefined) queue.end(current, done);
    }
    queue.begin();
    for (const id of ["bob1", "bob2", "alice4", "alice5"]) queue.add(turn(id));
    expect(ids(queue.waiting)).toBe("bob1 bob2 alice4 alice5");
  });

  it("puts a message before all others, but behind those that were put there earlier", () => {
    const queue = filled("alice1", "bob1");
    queue.add(turn("bob2"), true);
    queue.add(turn("carol1"), true);
    expect(ids(queue.waiting)).toBe("bob2 carol1 alice1 bob1");
  });

  it("ends a waiting turn, and lets the current one be", async () => {
    const queue = filled("alice1", "alice2", "bob1");
    const running = queue.begin();
    const waiting = queue.waiting.find(({ id }) => id === "alice2");
    if (waiting === undefined) throw new Error("It does not wait.");
    queue.end(waiting, { kind: "interrupted", message: "gone" });
    expect(await waiting.ended).toEqual({ kind: "interrupted", message: "gone" });
    expect(queue.current).toBe(running);
    expect(ids(queue.waiting)).toBe("bob1");
  });

  it("lets nobody's next turn wait for more than two of each other user, and keeps each one's order", () => {
    const random = createRandom(11);
    const userOf = ({ sender }: Turn<string>) => sender.replace(/\d+$/, "");
    for (let run = 0; run < 200; run++) {
      const queue = queueOf();
      const said = new Map<string, number>();
      const heard = new Map<string, string[]>();
      /** By user whose next turn waits: whose turns have begun since. */
      const passed = new Map<string, string[]>();
      const step = (): void => {
        if (random.percent(60)) {
          const user = random.pick(["alice", "bob", "carol", "dave"]);
          said.set(user, (said.get(user) ?? 0) + 1);
          queue.add(turn(`${user}${said.get(user)}`));
        } else {
          const begun = queue.begin();
          if (begun === undefined) return;
          const user = userOf(begun);
          heard.set(user, [...(heard.get(user) ?? []), begun.id]);
          passed.delete(user);
          for (const others of passed.values()) others.push(user);
          queue.end(begun, done);
        }
        for (const user of queue.waiting.map(userOf)) if (!passed.has(user)) passed.set(user, []);
        for (const others of passed.values())
          for (const other of others) expect(others.filter((one) => one === other).length).toBeLessThan(3);
      };
      for (let at = 0; at < 60; at++) step();
      for (const [user, turns] of heard) expect(turns).toEqual(turns.map((_, at) => `${user}${at + 1}`));
    }
  });

  it("allows no change that a turn's state does not know", () => {
    expect(() => nextTurnState({ kind: "queued" }, { kind: "accepted", runtimeMessageId: "r" })).toThrow();
    expect(() => nextTurnState({ kind: "ended", outcome: done }, { kind: "end", outcome: done })).toThrow();
    expect(() => nextTurnState({ kind: "running", runtimeMessageId: "r" }, { kind: "submit" })).toThrow();
  });
});
