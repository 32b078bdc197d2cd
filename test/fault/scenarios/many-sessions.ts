import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { collectEvidence } from "../evidence.ts";
import { findViolations, type Violation } from "../history-checker.ts";
import { createJournal, tally } from "../journal.ts";
import { attempt } from "../load.ts";
import { beforeRetry } from "../pause.ts";
import { createRandom } from "../random.ts";
import { type Scenario, unexpected } from "../scenario.ts";
import { createSdkActor } from "../sdk-actor.ts";
import { createWorld, users } from "../world.ts";

const mebibyte = 2 ** 20;
/** Turns after which a runtime is replaced. */
const recycleTurns = 300;
/** Figures of a bare runtime: a first session, each further one in memory, each turn. */
const bare = { first: 110 * mebibyte, session: 3 * mebibyte, turn: 0.6 * mebibyte };
/** Whoever waits for a place does so for a minute at most. */
const hangMs = 90_000;
const sampleMs = 250;

/** What the limits allow the runtimes to take: a generation that is ending beside the new one, and spares. */
const budgetOf = (maxSessions: number, spares: number): number =>
  2 * (bare.first + maxSessions * bare.session + recycleTurns * bare.turn) + spares * bare.first;

/**
 * Many sessions of one SDK connection on a node with few places. A round is one message into as many sessions as the
 * option `clients` says; there are ten sessions for each place.
 */
export const manySessions: Scenario = async ({ rounds, seed, clients, say, evidenceFile }) => {
  const places = Math.max(2, Math.round(clients / 10));
  const spares = 1;
  const config = {
    runtimes: { maxSessions: places, spares, probeEvery: "500ms", recycle: { turns: recycleTurns } },
  };
  await using world = await createWorld({ config });
  const user = users[0];
  if (user === undefined) throw new Error("There are no users.");
  const journal = createJournal();
  const actor = createSdkActor({ name: "one", user, world, journal, hangMs });
  const sessions = Array.from({ length: clients }, (_, at) => ({ name: `s-${at}`, user, shared: false }));
  const random = createRandom(seed);
  const common = { actor, client: "one", door: "sdk", manner: {}, random, world, journal } as const;
  const stopping = new AbortController();
  let peak = 0;
  const watch = (async () => {
    while (!stopping.signal.aborted) {
      const used = (await world.runtimes()).reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
      peak = Math.max(peak, used);
      await sleep(sampleMs);
    }
  })();
  watch.catch(() => undefined);

  const busy = new Set<string>();
  let count = 0;
  const worker = async (todo: { left: number }): Promise<void> => {
    while (todo.left > 0) {
      todo.left--;
      const free = sessions.filter(({ name }) => !busy.has(name));
      const session = random.pick(free).name;
      busy.add(session);
      try {
        // A message that was refused for want of room is sent again.
        for (let tries = 0; tries < 20; tries++) {
          const marker = `m-${++count}`;
          const outcome = await attempt({ ...common, session, marker });
          if (outcome.kind !== "refused") break;
          await beforeRetry(outcome.retryAfterMs);
        }
      } finally {
        busy.delete(session);
      }
    }
  };

  try {
    // One after the other, so that every session is there and most of them sleep.
    for (const { name: session } of sessions) {
      const marker = `m-${++count}`;
      await attempt({ ...common, session, marker });
      if (count % 50 === 0) say(`${count} sessions, peak ${Math.round(peak / mebibyte)} MiB`);
    }
    for (let round = 1; round <= rounds; round++) {
      const todo = { left: clients };
      await Promise.all(Array.from({ length: places * 2 }, () => worker(todo)));
      say(
        `round ${round} of ${rounds}: ${JSON.stringify(tally(journal))}, peak ${Math.round(peak / mebibyte)} MiB`,
      );
    }
  } finally {
    stopping.abort();
    await actor.close();
  }
  await watch;
  const { evidence, unreadable } = await collectEvidence({ world, journal, sessions, settleMs: 0 });
  if (evidenceFile !== undefined) writeFileSync(evidenceFile, JSON.stringify(evidence));
  const slowest = Math.max(...journal.attempts.map(({ sentAt, settledAt }) => settledAt - sentAt));
  const budget = budgetOf(places, spares);
  const over: Violation[] =
    peak <= budget
      ? []
      : [
          {
            kind: "over_budget",
            session: "",
            marker: undefined,
            detail: `The runtimes took ${Math.round(peak / mebibyte)} MiB, the budget is ${Math.round(budget / mebibyte)} MiB.`,
          },
        ];
  const cut = journal.attempts
    .filter(({ outcome }) => outcome.kind !== "answered" && outcome.kind !== "refused")
    .map(unexpected);
  return {
    violations: [...findViolations(evidence), ...unreadable, ...over, ...cut],
    outcomes: tally(journal),
    slowestMs: 0,
    faults: 0,
    setupErrors: {},
    notes: [
      `peak ${Math.round(peak / mebibyte)} MiB of ${Math.round(budget / mebibyte)} MiB`,
      `the slowest answer took ${Math.round(slowest)} ms`,
    ],
  };
};
