import { join } from "node:path";
import { openStore } from "../../../src/store/open-store.ts";
import type { Store } from "../../../src/store/store.ts";
import { tempDir } from "../../support/temp.ts";
import { eventually } from "../../support/wait.ts";
import type { Actor } from "../actor.ts";
import { stopAt } from "../crash-points.ts";
import { closingRound, collectEvidence } from "../evidence.ts";
import { type Evidence, findViolations, type Violation } from "../history-checker.ts";
import { createHttpActor } from "../http-actor.ts";
import { type Attempt, createJournal, type Journal, tally } from "../journal.ts";
import type { LoadSession } from "../load.ts";
import { beforeRetry, runOn } from "../pause.ts";
import { createRandom, type Random } from "../random.ts";
import { type Scenario, setupErrorsOf, unexpected } from "../scenario.ts";
import { createSdkActor } from "../sdk-actor.ts";
import { continueNode, counterOf, stopNode, stopNodeAtPoint } from "../stopped-node.ts";
import { promptFor } from "../talk.ts";
import { createWorld, users, type World } from "../world.ts";

/** A busy machine may keep a node waiting for a while: it is to lose nothing then. */
const leaseTtlMs = 3_000;
/** So soon after it goes on a zombie's clients must be told. */
const settleMs = 2_000;
const hangMs = 30_000;
const patienceMs = 30_000;

const config = {
  coordination: { leaseTtl: `${leaseTtlMs}ms` },
  // Nobody keeps a session at work for long, so that the nodes can change places.
  defaults: { sessions: { hibernateAfter: "300ms" } },
};

/** A node, and its clients: two of each session's user. */
interface Side {
  readonly world: World;
  readonly actors: ReadonlyMap<LoadSession, Actor>;
  readonly others: ReadonlyMap<LoadSession, Actor>;
  /** Makes the node stop itself when it has read what it is about to store. */
  readonly stopFile: string;
}

/** What is tried with one session in one round. */
interface Course {
  readonly session: LoadSession;
  readonly name: string;
  /** Is the zombie stopped while its model still answers, or about when the turn ends? */
  readonly stoppedInTurn: boolean;
  /** Has its successor answered when the zombie goes on, or is it in the middle of a turn? */
  readonly successorDone: boolean;
  /** Does another client send something to the zombie, which waits for the turn when it is stopped, or comes meanwhile? */
  readonly other: "queued" | "late" | undefined;
}

/** A turn that the zombie had begun when it was stopped. */
interface Stopped {
  readonly attempt: Attempt;
  /** What it did was in the store before that. */
  readonly kept: boolean;
}

const holdOf = (course: Course, side: "zombie" | "successor"): string => `${course.name}-${side}`;

const stopFileOf = (directory: string, at: number): string => join(directory, `stop-${at}`);

const storedLog = async (store: Store, { name, user }: LoadSession): Promise<string> => {
  const row = await store.sessions.byName(user.tenant, user.user, name);
  const file = row && (await store.state.file({ kind: "session", id: row.id }, "events.jsonl"));
  return file === undefined ? "" : Buffer.from(file.bytes).toString();
};

const sidesOf = (
  worlds: readonly World[],
  directory: string,
  sessions: readonly LoadSession[],
  journal: Journal,
): readonly Side[] =>
  worlds.map((world, at) => {
    const clients = (name: string, make: (index: number) => typeof createSdkActor) =>
      new Map(
        sessions.map((session, index) => [
          session,
          make(index)({ name: `${name}-${at}-${index}`, user: session.user, world, journal, hangMs }),
        ]),
      );
    return {
      world,
      stopFile: stopFileOf(directory, at),
      actors: clients("main", (index) => (index % 2 === 0 ? createSdkActor : createHttpActor)),
      others: clients("other", () => createHttpActor),
    };
  });

/** Sends messages, each of its own marker. */
const createTalk = (journal: Journal, random: Random) => {
  let sent = 0;
  const say = async (
    actor: Actor | undefined,
    { name: session }: LoadSession,
    client: string,
    hold?: string,
  ): Promise<Attempt> => {
    if (actor === undefined) throw new Error(`Nobody talks in ${session}.`);
    const marker = `m-${session}-${++sent}`;
    const earlier = journal.attempts.filter((one) => one.session === session).length;
    const { text, recalls } = promptFor(marker, session, { random, earlier });
    const sentAt = performance.now();
    const outcome = await actor.say(session, hold === undefined ? text : `${text} [[hold ${hold}]]`, {
      byId: true,
    });
    const settledAt = performance.now();
    const attempt: Attempt = { marker, client, door: "sdk", session, recalls, sentAt, settledAt, outcome };
    journal.attempts.push(attempt);
    return attempt;
  };

  /** Sends again as it is told, until an answer comes. */
  const untilAnswered = async (...args: Parameters<typeof say>): Promise<Attempt> => {
    const end = performance.now() + patienceMs;
    for (;;) {
      const attempt = await say(...args);
      if (attempt.outcome.kind === "answered" || performance.now() > end) return attempt;
      await beforeRetry(attempt.outcome.kind === "refused" ? attempt.outcome.retryAfterMs : undefined);
    }
  };

  /** Sends again as it is told, until the model is at work; the last attempt ends when the hold is released. */
  const untilHeld = async (
    side: Side,
    session: LoadSession,
    client: string,
    hold: string,
  ): Promise<{ readonly done: Promise<Attempt> }> => {
    const end = performance.now() + patienceMs;
    for (;;) {
      const done = say(side.actors.get(session), session, client, hold);
      let ended: Attempt | undefined;
      done.then(
        (attempt) => {
          ended = attempt;
        },
        () => undefined,
      );
      await eventually(() => ended !== undefined || side.world.model.holding(hold) > 0, {
        what: `a turn runs in ${session.name}`,
        deadlineMs: patienceMs,
      });
      if (ended === undefined || performance.now() > end) return { done };
      await beforeRetry(ended.outcome.kind === "refused" ? ended.outcome.retryAfterMs : undefined);
    }
  };
  return { say, untilAnswered, untilHeld };
};

/**
 * Two nodes on one store. One has sessions in the middle of a turn and is stopped (SIGSTOP) for longer than its leases
 * last; the other takes them over; the first goes on (SIGCONT) and may change nothing any more. Then the other way round.
 */
export const zombie: Scenario = async ({ rounds, seed, clients, say: tell }) => {
  await using directory = await tempDir("zombie");
  const databasePath = join(directory.path, "squadron.db");
  const worldOf = (at: number) =>
    createWorld({ config, databasePath, ...stopAt("commit.read", stopFileOf(directory.path, at)) });
  await using first = await worldOf(0);
  await using second = await worldOf(1);
  const store = await openStore(`sqlite:${first.databasePath}`);
  const journal = createJournal();
  const random = createRandom(seed);
  // A client by the SDK, one by HTTP, in each isolation.
  const sessions = [0, 1, 2, 3]
    .flatMap((at) => [users[at], users[at + 4]])
    .filter((user) => user !== undefined)
    .slice(0, clients)
    .map((user): LoadSession => ({ name: `z-${user.tenant}-${user.user}`, user, shared: false }));
  const sides = sidesOf([first, second], directory.path, sessions, journal);
  const talk = createTalk(journal, random);
  const stopped: Stopped[] = [];
  const bad: Violation[] = [];
  const fault = (what: string): void => {
    journal.faults.push({ at: performance.now(), what });
  };

  const round = async (number: number, zombie: Side, successor: Side): Promise<void> => {
    const { world, others } = zombie;
    /** That session's turn is stopped just before it is stored; only the epoch tells it from its successor's then. */
    const storing = number % 3 === 0 ? undefined : sessions[(2 * number - 1) % sessions.length];
    const courses = sessions.map((session, index): Course => {
      const chance = (percent: number): boolean => session !== storing && random.percent(percent);
      const stoppedInTurn = storing === undefined ? chance(50) : session !== storing;
      const name = `r${number}-${index}`;
      const other = chance(60) ? (chance(50) ? "queued" : "late") : undefined;
      return { session, name, stoppedInTurn, successorDone: chance(50), other };
    });
    await Promise.all(sessions.map((session) => talk.untilAnswered(others.get(session), session, "before")));
    const turns = await Promise.all(
      courses.map((course) => talk.untilHeld(zombie, course.session, "zombie", holdOf(course, "zombie"))),
    );
    const sent: Promise<Attempt>[] = [];
    const sendOthers = (when: "queued" | "late"): void => {
      for (const { session, other } of courses)
        if (other === when) sent.push(talk.say(others.get(session), session, when));
    };
    sendOthers("queued");
    const endTurns = (): void => {
      for (const course of courses) if (!course.stoppedInTurn) world.model.release(holdOf(course, "zombie"));
    };
    if (storing === undefined) {
      endTurns();
      await runOn(random, { least: 0, most: 120 });
      fault("SIGSTOP of a node");
      await stopNode(world);
    } else {
      fault("SIGSTOP of a node");
      await stopNodeAtPoint(world, zombie.stopFile, endTurns);
    }
    const logs = await Promise.all(courses.map(({ session }) => storedLog(store, session)));
    sendOthers("late");
    const taken = courses.map(async (course): Promise<{ readonly done: Promise<Attempt> }> => {
      const { session } = course;
      if (!course.successorDone)
        return talk.untilHeld(successor, session, "successor", holdOf(course, "successor"));
      const done = talk.untilAnswered(successor.actors.get(session), session, "successor");
      await done;
      return { done };
    });
    const successors = await Promise.all(taken);

    for (const course of courses) world.model.release(holdOf(course, "zombie"));
    fault("SIGCONT of the node");
    continueNode(world);
    for (const [at, { done }] of turns.entries()) {
      const attempt = await done;
      const kept = logs[at]?.includes(attempt.marker) === true;
      stopped.push({ attempt, kept });
      const mayBe = attempt.outcome.kind === "interrupted" || (kept && attempt.outcome.kind === "answered");
      if (!mayBe) bad.push(unexpected(attempt));
    }
    for (const course of courses) successor.world.model.release(holdOf(course, "successor"));
    for (const { done } of successors) {
      const attempt = await done;
      if (attempt.outcome.kind !== "answered") bad.push(unexpected(attempt));
    }
    await Promise.all(sent);
  };

  try {
    for (let number = 1; number <= rounds; number++) {
      const [zombie, successor] = number % 2 === 0 ? [...sides].reverse() : sides;
      if (zombie === undefined || successor === undefined) throw new Error("There are not two nodes.");
      await round(number, zombie, successor);
      tell(`round ${number} of ${rounds}: ${JSON.stringify(tally(journal))}`);
    }
  } catch (error) {
    for (const { world } of sides) tell(`A node's log: ${world.node?.stderr.slice(-4_000)}`);
    throw error;
  } finally {
    await store.close();
    for (const { actors, others } of sides)
      for (const actor of [...actors.values(), ...others.values()]) await actor.close();
  }
  const figures = await Promise.all(
    sides.map(async ({ world }) => [
      await counterOf(world, "lease_lost_total"),
      await counterOf(world, "fenced_writes_total"),
    ]),
  );
  const sum = (at: number): number => figures.reduce((total, one) => total + (one[at] ?? 0), 0);
  await first.end("SIGTERM");
  const dead = await closingRound({ world: second, journal, sessions, hangMs });
  const { evidence, unreadable } = await collectEvidence({ world: second, journal, sessions, settleMs });
  const stale = staleCommits(evidence, stopped);
  if (sum(1) === 0) throw new Error("No stopped node tried to store anything: nothing was shown.");
  const woken = stopped.filter(({ attempt }) => attempt.outcome.kind === "interrupted");
  return {
    violations: [...findViolations(evidence), ...bad, ...stale, ...dead, ...unreadable],
    outcomes: tally(journal),
    slowestMs: Math.max(0, ...woken.map(({ attempt }) => toldAfter(journal, attempt))),
    faults: journal.faults.length,
    setupErrors: setupErrorsOf(journal.calls),
    notes: [
      `${stopped.length} turns were stopped, ${stopped.filter(({ kept }) => kept).length} of them were stored before`,
      `${stale.length} stale commits were accepted, ${sum(1)} refused; ${sum(0)} leases were lost`,
    ],
  };
};

const toldAfter = ({ faults }: Journal, { settledAt }: Attempt): number => {
  const before = faults.findLast(({ at }) => at <= settledAt);
  return before === undefined ? 0 : Math.round(settledAt - before.at);
};

/** What a node stored of a turn after it had been stopped and another one had taken the session over. */
const staleCommits = ({ sessions }: Evidence, stopped: readonly Stopped[]): readonly Violation[] =>
  stopped.flatMap(({ attempt: { session, marker }, kept }) => {
    const said = sessions.find((facts) => facts.session === session)?.said ?? [];
    return !kept && said.some(({ content }) => content.startsWith(`${marker} `))
      ? [
          {
            kind: "stale_commit",
            session,
            marker,
            detail: "It was stored by a node that had lost the session.",
          },
        ]
      : [];
  });
