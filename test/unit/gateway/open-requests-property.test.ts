import fc from "fast-check";
import { expect, it } from "vitest";
import { createOpenRequests, type PutQuestion } from "../../../src/gateway/open-requests.ts";
import type { RequestEnd } from "../../../src/gateway/request-vocabulary.ts";
import type { Attachment, Connection } from "../../../src/gateway/vocabulary.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { settle } from "./fake-node.ts";

const users = ["alice", "bob", "carol"].map((user) => ({ tenant: "acme", user }));
const attachments = ["a", "b"].map((id) => ({ connection: { id } as Connection }) as Attachment);
const ids = fc.constantFrom("p", "q");
const at = fc.nat({ max: 2 });

const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant("ask" as const), id: ids }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("answer" as const),
      id: ids,
      who: at,
      how: fc.constantFrom("taken", "unused", "wrong"),
    }),
  },
  /** The runtime deals with the oldest answer that it has got. */
  { weight: 3, arbitrary: fc.record({ do: fc.constant("deal" as const) }) },
  fc.record({ do: fc.constant("close" as const), id: ids }),
  fc.record({ do: fc.constant("leave" as const), who: at }),
  fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(30, 100) }),
  fc.record({ do: fc.constant("withdraw" as const) }),
);

it("whatever comes in whatever order, each question ends once, one answer at a time is with the runtime, and no answer is lost", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40, size: "max" }), async (steps) => {
      const clock = new ManualClock();
      const open = new Map<string, number>();
      const ends = new Map<string, RequestEnd[]>();
      let asked = 0;
      const told: string[] = [];
      const requests = createOpenRequests({
        clock,
        deadlineMs: 100,
        onOpened: ({ id }) => told.push(`opened ${id}`),
        onEnded: ({ id }) => told.push(`ended ${id}`),
        onTooMany: () => expect.unreachable(),
      });
      const busy = new Set<string>();
      let overlaps = 0;
      const dealing: (() => void)[] = [];
      const answers: Promise<{ readonly taken: boolean; readonly nth: string; readonly user: string }>[] = [];

      for (const one of steps) {
        switch (one.do) {
          case "ask": {
            if (requests.find(one.id) !== undefined) break;
            const nth = `${one.id}${++asked}`;
            open.set(one.id, asked);
            ends.set(nth, []);
            const question: PutQuestion = {
              id: one.id,
              kind: "permission",
              turn: undefined,
              detail: {},
              othersMayAnswer: false,
              ask: () => attachments[1],
              give: async () => true,
              ended: (end) => ends.get(nth)?.push(end),
            };
            requests.add(question, attachments[0]);
            break;
          }
          case "answer": {
            const by = users[one.who] ?? { tenant: "acme", user: "" };
            const nth = `${one.id}${open.get(one.id)}`;
            const give = (): Promise<boolean> => {
              if (busy.has(nth)) overlaps++;
              busy.add(nth);
              return new Promise((resolve, reject) =>
                dealing.push(() => {
                  busy.delete(nth);
                  if (one.how === "wrong") reject(new Error("It is none."));
                  else resolve(one.how === "taken");
                }),
              );
            };
            answers.push(
              requests.answer(one.id, by, give).then(
                (taken) => ({ taken, nth, user: by.user }),
                () => ({ taken: false, nth, user: by.user }),
              ),
            );
            break;
          }
          case "deal":
            dealing.shift()?.();
            break;
          case "close":
            requests.closed(one.id);
            break;
          case "leave": {
            const gone = attachments[one.who];
            if (gone !== undefined) requests.left(gone);
            break;
          }
          case "wait":
            clock.advance(one.ms);
            break;
          case "withdraw":
            requests.withdraw();
        }
        await settle();
      }
      for (let left = 0; left < steps.length; left++) {
        for (const deal of dealing.splice(0)) deal();
        await settle();
      }
      expect(clock.pending).toBeLessThanOrEqual(requests.size);
      clock.advance(100);
      await settle();
      expect([requests.size, clock.pending, overlaps]).toEqual([0, 0, 0]);
      for (const [, how] of ends) expect(how).toHaveLength(1);
      expect(told).toHaveLength(2 * asked);
      const taken = (await Promise.all(answers)).filter((answer) => answer.taken);
      for (const [nth, [end]] of ends) {
        const winners = taken.filter((answer) => answer.nth === nth);
        expect(winners.length).toBeLessThanOrEqual(1);
        // What was withdrawn while the runtime took an answer all the same ends as withdrawn.
        if (end?.outcome === "timeout") expect(winners).toEqual([]);
        if (end?.outcome === "answered" && winners.length > 0) expect(winners[0]?.user).toBe(end.by.user);
      }
    }),
    { numRuns: 150 },
  );
});
