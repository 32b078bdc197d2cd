import { eventually } from "../support/wait.ts";
import type { Actor, Manner } from "./actor.ts";
import { createHttpActor } from "./http-actor.ts";
import { type Attempt, createJournal, type Door, type Journal, type Outcome, tally } from "./journal.ts";
import { beforeRetry, runOn } from "./pause.ts";
import { createRandom, type Random } from "./random.ts";
import { createSdkActor } from "./sdk-actor.ts";
import { promptFor } from "./talk.ts";
import { type User, users, type World } from "./world.ts";

/** Within this time a load must get what a round waits for. */
const longestMs = 60_000;

export interface LoadPlan {
  readonly clients: number;
  readonly seed: number;
  /** No call of a client may take longer. */
  readonly hangMs?: number;
  /** Longest pause between two messages of a client. */
  readonly paceMs?: number;
}

export interface LoadSession {
  readonly name: string;
  readonly user: User;
  /** Do two clients talk in it? */
  readonly shared: boolean;
}

/** Clients that talk at random until they are told to stop. */
export interface Load {
  readonly journal: Journal;
  readonly sessions: readonly LoadSession[];
  readonly hangMs: number;
  /** Lets each client finish its message; with a limit, as its deadline ends at the latest. */
  stop(): Promise<void>;
  /** Resolves when so many more messages have been answered. */
  answered(number: number): Promise<void>;
  /** Resolves when so many more have ended without an answer. */
  failed(number: number): Promise<void>;
}

/** Sends one message and writes down how it ended. */
export const attempt = async (options: {
  readonly actor: Actor;
  readonly client: string;
  readonly user?: string;
  readonly door: Door;
  readonly session: string;
  readonly manner: Manner;
  readonly marker: string;
  readonly random: Random;
  readonly world: World;
  readonly journal: Journal;
}): Promise<Outcome> => {
  const { actor, client, door, session, manner, marker, random, world, journal } = options;
  const earlier = journal.attempts.filter((one) => one.session === session).length;
  const { text, recalls } = promptFor(marker, session, { random, earlier });
  let takenAt: number | undefined;
  const onTaken = (): void => {
    takenAt ??= world.now();
    manner.onTaken?.();
  };
  const sentAt = world.now();
  const outcome = await actor.say(session, text, { ...manner, onTaken });
  const settledAt = world.now();
  const told: Attempt = { marker, client, door, session, recalls, sentAt, settledAt, outcome };
  journal.attempts.push({
    ...told,
    ...(options.user !== undefined && { user: options.user }),
    ...(takenAt !== undefined && { takenAt }),
    ...(manner.steer === true && { steered: true }),
  });
  return outcome;
};

/**
 * Starts the load. Clients come in pairs of one user, one by the SDK and one by HTTP. Each has a session for itself, and
 * both have one together. The users' sessions are in every isolation.
 */
export const startLoad = (world: World, { clients, seed, hangMs = 20_000, paceMs = 60 }: LoadPlan): Load => {
  const journal = createJournal();
  const stopping = new AbortController();
  const sessions: LoadSession[] = [];
  const actors: Actor[] = [];

  const run = async (
    index: number,
    actor: Actor,
    client: string,
    own: readonly LoadSession[],
  ): Promise<void> => {
    const random = createRandom(seed * 1_000 + index);
    const door = index % 2 === 0 ? "sdk" : "http";
    for (let count = 1; !stopping.signal.aborted; count++) {
      await runOn(random, { least: 0, most: paceMs });
      const { name: session, shared } = random.pick(own);
      const marker = `m-${client}-${count}`;
      const manner = { byId: shared };
      const outcome = await attempt({ actor, client, door, session, manner, marker, random, world, journal });
      if (outcome.kind === "answered") continue;
      await beforeRetry(outcome.kind === "refused" ? outcome.retryAfterMs : undefined);
    }
  };

  const runs = Array.from({ length: clients }, (_, index) => {
    const pair = Math.floor(index / 2);
    const user = users[pair % users.length];
    if (user === undefined) throw new Error("There are no users.");
    const together = { name: `s-${pair}-both`, user, shared: true };
    const own = [together, { name: `s-${pair}-${index % 2 === 0 ? "sdk" : "http"}`, user, shared: false }];
    sessions.push(...(index % 2 === 0 ? own : own.slice(1)));
    const client = `${index % 2 === 0 ? "sdk" : "http"}${index}`;
    const options = { name: client, user, world, journal, hangMs };
    const actor = index % 2 === 0 ? createSdkActor(options) : createHttpActor(options);
    actors.push(actor);
    return run(index, actor, client, own);
  });
  const running = Promise.all(runs);
  // Whoever waits for the load is told; until then nobody is.
  running.catch(() => undefined);

  const count = (answered: boolean): number =>
    journal.attempts.filter(({ outcome }) => (outcome.kind === "answered") === answered).length;
  const more = async (answered: boolean, number: number): Promise<void> => {
    const goal = count(answered) + number;
    try {
      await eventually(() => count(answered) >= goal, { what: "so many messages", deadlineMs: longestMs });
    } catch (cause) {
      const what = answered ? "answered" : "not answered";
      throw new Error(`Not ${number} more messages were ${what}: ${JSON.stringify(tally(journal))}.`, {
        cause,
      });
    }
  };

  return {
    journal,
    sessions,
    hangMs,
    answered: (number) => more(true, number),
    failed: (number) => more(false, number),
    async stop() {
      stopping.abort();
      try {
        await running;
      } finally {
        await Promise.allSettled(actors.map((actor) => actor.close()));
      }
    },
  };
};
