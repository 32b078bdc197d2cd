import { describe, expect, it, vi } from "vitest";
import {
  createOpenRequests,
  nextRequestState,
  type PutQuestion,
} from "../../../src/gateway/open-requests.ts";
import type { RequestEnd } from "../../../src/gateway/request-vocabulary.ts";
import type { Attachment, Connection } from "../../../src/gateway/vocabulary.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { settle } from "./fake-node.ts";

const attachment = (id: string): Attachment => ({ connection: { id } as Connection }) as Attachment;
const alice = { tenant: "acme", user: "alice" };
const bob = { tenant: "acme", user: "bob" };

const setUp = () => {
  const clock = new ManualClock();
  const told: string[] = [];
  const tooMany = vi.fn();
  const say = (end: RequestEnd): string =>
    end.outcome === "answered" ? `answered by ${end.by.user}` : end.outcome;
  const requests = createOpenRequests({
    clock,
    deadlineMs: 100,
    onOpened: ({ id }) => told.push(`${id} opened`),
    onEnded: ({ id }, end) => told.push(`${id} ${say(end)}`),
    onTooMany: tooMany,
  });
  const ended = vi.fn();
  const question = (id: string, more: Partial<PutQuestion> = {}): PutQuestion => ({
    id,
    kind: "permission",
    turn: undefined,
    detail: {},
    othersMayAnswer: false,
    ask: () => undefined,
    give: async () => true,
    ended: ({ outcome }) => ended(id, outcome),
    ...more,
  });
  return { clock, told, tooMany, requests, ended, question };
};

describe("open requests", () => {
  it("end by the first answer that the runtime takes; a later one waits for that and comes too late", async () => {
    const { requests, question, told, clock } = setUp();
    requests.add(question("p"), undefined);
    let take = (_taken: boolean): void => undefined;
    const given: string[] = [];
    const first = requests.answer("p", alice, () => {
      given.push("alice");
      return new Promise((resolve) => {
        take = resolve;
      });
    });
    const second = requests.answer("p", bob, async () => given.push("bob") > 0);
    await settle();
    expect([given, requests.size]).toEqual([["alice"], 1]);
    take(true);
    expect([await first, await second, given]).toEqual([true, false, ["alice"]]);
    expect([await requests.answer("p", bob, async () => true), requests.hasEnded("p")]).toEqual([
      false,
      true,
    ]);
    expect([told, clock.pending]).toEqual([["p opened", "p answered by alice"], 0]);
  });

  it("stay open after an answer that the runtime takes for none, for the next one", async () => {
    const { requests, question, told } = setUp();
    requests.add(question("p"), undefined);
    const wrong = requests.answer("p", alice, () => Promise.reject(new Error("It is none.")));
    const right = requests.answer("p", bob, async () => true);
    await expect(wrong).rejects.toThrow("It is none.");
    expect(await right).toBe(true);
    expect(told).toEqual(["p opened", "p answered by bob"]);
  });

  it("are answered by the answer that is on its way when the runtime says that they are settled", async () => {
    const { requests, question, told } = setUp();
    requests.add(question("p"), undefined);
    requests.add(question("q"), undefined);
    const answer = requests.answer("p", alice, async () => {
      requests.closed("p");
      return true;
    });
    requests.closed("q");
    requests.closed("unknown");
    expect(await answer).toBe(true);
    expect(told).toEqual(["p opened", "q opened", "q withdrawn", "p answered by alice"]);
  });

  it("are withdrawn when the runtime has no use for an answer any more", async () => {
    const { requests, question, told } = setUp();
    requests.add(question("p"), undefined);
    expect(await requests.answer("p", alice, async () => false)).toBe(false);
    expect(told).toEqual(["p opened", "p withdrawn"]);
  });

  it("expire once, but not while an answer is on its way", async () => {
    const { requests, question, told, ended, clock } = setUp();
    for (const id of ["p", "q", "r"]) requests.add(question(id), undefined);
    const { promise: taking, resolve: taken } = Promise.withResolvers<boolean>();
    const { promise: failing, reject: failed } = Promise.withResolvers<boolean>();
    const q = requests.answer("q", alice, () => taking);
    const r = requests.answer("r", alice, () => failing);
    await settle();
    clock.advance(100);
    expect(told.slice(3)).toEqual(["p timeout"]);
    taken(true);
    failed(new Error("gone"));
    await Promise.allSettled([q, r]);
    expect(told.slice(4)).toEqual(["q answered by alice", "r timeout"]);
    expect(ended.mock.calls).toEqual([
      ["p", "timeout"],
      ["q", "answered"],
      ["r", "timeout"],
    ]);
    expect(requests.size).toBe(0);
  });

  it("are put to another one when the one who is asked has gone, and stay with a client that is attached anew", () => {
    const { requests, question } = setUp();
    const [a, again, b] = [attachment("a"), attachment("a"), attachment("b")];
    const ask = vi.fn(() => b);
    requests.add(question("p", { ask }), a);
    const takes = (from: Attachment) => {
      const request = requests.find("p");
      return request && requests.takesFrom(request, from.connection.id);
    };
    requests.left(b);
    requests.left(a, again);
    expect([takes(again), takes(b), ask.mock.calls.length]).toEqual([true, false, 0]);
    requests.left(again);
    expect([takes(again), takes(b), ask.mock.calls.length]).toEqual([false, true, 1]);
  });

  it("hear over the SDK only who is asked, unless nobody is, or others answer only on purpose", () => {
    const { requests, question } = setUp();
    const [a, b] = [attachment("a"), attachment("b")];
    requests.add(question("p"), a);
    requests.add(question("t", { othersMayAnswer: true }), a);
    const takes = (id: string, from: Attachment) => {
      const request = requests.find(id);
      return request && requests.takesFrom(request, from.connection.id);
    };
    expect([takes("p", a), takes("p", b), takes("t", b)]).toEqual([true, false, true]);
    requests.left(a);
    expect(takes("p", b)).toBe(true);
  });

  it("are withdrawn with their runtime, and leave no timer behind", () => {
    const { requests, question, told, clock } = setUp();
    requests.add(question("p"), undefined);
    requests.add(question("q"), undefined);
    requests.withdraw(({ id }) => id === "p");
    expect(requests.list.map(({ id }) => id)).toEqual(["q"]);
    requests.withdraw();
    expect([requests.size, clock.pending, told.slice(2)]).toEqual([0, 0, ["p withdrawn", "q withdrawn"]]);
  });

  it("are so many at most; one more is answered as if nobody had in time", () => {
    const { requests, question, ended, tooMany } = setUp();
    for (let nth = 0; nth <= 200; nth++) requests.add(question(`p${nth}`), undefined);
    expect([requests.size, tooMany.mock.calls.length]).toEqual([200, 1]);
    expect(ended.mock.calls).toEqual([["p200", "timeout"]]);
  });

  it("that have ended change no more, whatever comes", () => {
    const end = { kind: "ended", end: { outcome: "timeout" } } as const;
    for (const kind of ["reject", "accept", "withdraw", "expire"] as const)
      expect(nextRequestState(end, { kind })).toBe(end);
    expect(nextRequestState(end, { kind: "answer", by: alice })).toBe(end);
  });
});
