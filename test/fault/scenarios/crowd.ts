import { writeFileSync } from "node:fs";
import { launchChromium } from "../../browser/harness.ts";
import type { Actor, ActorOptions, Manner } from "../actor.ts";
import { createBrowserActor } from "../browser-actor.ts";
import { closingRound, collectEvidence } from "../evidence.ts";
import { findViolations } from "../history-checker.ts";
import { createHttpActor } from "../http-actor.ts";
import { type Attempt, createJournal, type Door, type Journal, tally } from "../journal.ts";
import { attempt, type LoadSession } from "../load.ts";
import { admit, wrongSenders } from "../participants.ts";
import { runOn } from "../pause.ts";
import { createRandom, type Random } from "../random.ts";
import { type Scenario, setupErrorsOf, slowestOf, unexpected } from "../scenario.ts";
import { createSdkActor } from "../sdk-actor.ts";
import { followSessions } from "../stream-readers.ts";
import { createWorld, guestsOf, type User, users } from "../world.ts";
import { killOne } from "./runtimes.ts";

const hangMs = 60_000;
const settleMs = 2_000;
const readers = 4;
/** So short that sessions fall asleep in the middle of it, and whatever is timed by that comes due. */
const sleepy = { defaults: { sessions: { hibernateAfter: "2s" } } };
/** Of so many messages in a hundred, somebody's connection is cut, or the runtime killed, a moment later. */
const cutPercent = 12;
const killPercent = 7;
const forms = ["whole", "events", "poll"] as const;

/** All that one user has are programs; of many people some sit at browsers. */
const doorsOf = {
  "one user": ["sdk", "http"],
  "many users": ["sdk", "http", "sdk", "http", "browser"],
} as const satisfies Record<string, readonly Door[]>;

interface Caller {
  readonly name: string;
  readonly door: Door;
  readonly user: User;
  readonly actor: Actor;
}

const mannerOf = (random: Random): Manner => ({
  form: random.pick(forms),
  steer: random.percent(20),
  ...(random.percent(10) && { abortAfterMs: random.below(400) }),
});

/**
 * How a message may end here. What is refused was not sent: the connection was cut, or the runtime killed, while the
 * session was being opened. An abort that somebody asked for while it waited or ran may have been meant for its turn.
 */
const mayEndSo = ({ calls }: Journal, { sentAt, settledAt, outcome }: Attempt): boolean => {
  switch (outcome.kind) {
    case "answered":
    case "interrupted":
    case "lost":
      return true;
    case "refused":
      return ["unreachable", "lost", "setup lost", "runtime_gone"].includes(outcome.code);
    case "failed":
      return (
        outcome.code === "turn_aborted" &&
        calls.some((call) => call.what === "abort" && call.settledAt >= sentAt && call.begunAt <= settledAt)
      );
    case "hung":
      return false;
  }
};

/**
 * Callers, by the SDK and by HTTP in all its forms, talk in one session at once; their connections are cut, they take
 * messages back, and the session's runtime is killed. All are of one user, or each of a user of its own, who takes part
 * in the session of the first. A round is one message.
 */
const together =
  (people: "one user" | "many users"): Scenario =>
  async ({ rounds, seed, clients, say, evidenceFile }) => {
    const user = users[seed % users.length];
    if (user === undefined) throw new Error("There are no users.");
    const guests = people === "one user" ? [] : guestsOf(user.tenant, clients - 1);
    await using world = await createWorld({ guests, config: sleepy });
    const everybody = [user, ...guests];
    const session: LoadSession = { name: "crowd", user, shared: true };
    const sessions = [session];
    const journal = createJournal();
    const random = createRandom(seed);
    await using chromium = people === "one user" ? undefined : await launchChromium();
    const doors = doorsOf[people];
    const actorOf = (door: Door, given: ActorOptions): Actor => {
      if (door === "sdk") return createSdkActor(given);
      return door === "browser" && chromium !== undefined
        ? createBrowserActor({ ...given, browser: chromium })
        : createHttpActor(given);
    };
    const callers = Array.from({ length: clients }, (_, index): Caller => {
      const door = doors[index % doors.length] ?? "http";
      const name = `${door}${index}`;
      const own = everybody[index % everybody.length] ?? user;
      const options = { name, user: own, world, journal, hangMs, existing: session.name };
      return {
        name,
        door,
        user: own,
        actor: actorOf(door, options),
      };
    });
    const send = ({ name, door, user: whose, actor }: Caller, number: number, own: Random, manner: Manner) =>
      attempt({
        actor,
        client: name,
        user: whose.user,
        door,
        session: session.name,
        manner,
        marker: `m-${number}`,
        random: own,
        world,
        journal,
      });
    /** Goes on beside the talk. */
    const harm: Promise<void>[] = [];
    const harmSoon = (own: Random): void => {
      const soon = async (work: () => Promise<void>): Promise<void> => {
        await runOn(own, { least: 0, most: 300 });
        await work();
      };
      if (own.percent(cutPercent)) harm.push(soon(() => own.pick(callers).actor.cut()));
      if (own.percent(killPercent))
        harm.push(soon(() => killOne(world, own, (what) => journal.faults.push({ at: world.now(), what }))));
    };

    let sent = 0;
    const talk = async (caller: Caller, index: number): Promise<void> => {
      const own = createRandom(seed * 1_000 + index);
      while (sent < rounds) {
        await runOn(own, { least: 0, most: 60 });
        harmSoon(own);
        await send(caller, ++sent, own, mannerOf(own));
        if (sent % 50 === 0) say(`${sent} of ${rounds} sent: ${JSON.stringify(tally(journal))}`);
      }
    };

    try {
      const opener: Caller = {
        name: "opener",
        door: "http",
        user,
        actor: createHttpActor({ name: "opener", user, world, journal, hangMs }),
      };
      await send(opener, ++sent, random, {}).finally(opener.actor.close);
      await admit(world, session, guests);
      const following = await followSessions({ world, sessions, each: readers, guests, random });
      try {
        await Promise.all(callers.map(talk));
        await Promise.all(harm);
        const during = [...journal.attempts];
        const dead = await closingRound({ world, journal, sessions, hangMs });
        const other = await following.compare();
        const wrong = await wrongSenders({
          world,
          session,
          journal,
          userOf: (client) => callers.find(({ name }) => name === client)?.user ?? user,
        });
        const { events, reconnects, rewinds } = following;
        await following.stop();
        const { evidence, unreadable } = await collectEvidence({ world, journal, sessions, settleMs });
        if (evidenceFile !== undefined) writeFileSync(evidenceFile, JSON.stringify(evidence));
        const others = during.filter((one) => !mayEndSo(journal, one)).map(unexpected);
        const joined = evidence.sessions.flatMap(({ rows = [] }) =>
          rows.filter((row) => row.joined !== null),
        );
        return {
          violations: [...findViolations(evidence), ...dead, ...unreadable, ...other, ...wrong, ...others],
          outcomes: tally(journal),
          slowestMs: slowestOf(during, journal.faults),
          faults: journal.faults.length,
          setupErrors: setupErrorsOf(journal.calls),
          notes: [
            `${user.tenant}: ${joined.length} messages were delivered into a running turn`,
            `${events} events, ${reconnects} reconnects, ${rewinds} rewinds`,
          ],
        };
      } finally {
        await following.stop();
      }
    } catch (error) {
      say(`The node's log: ${world.node?.stderr.slice(-4_000) ?? "no node runs"}`);
      throw error;
    } finally {
      await Promise.allSettled(callers.map(({ actor }) => actor.close()));
    }
  };

/** Many callers of one user. */
export const crowd = together("one user");

/** Many participants of a shared session. */
export const room = together("many users");
