import { eventually } from "../support/wait.ts";
import { createHttpActor } from "./http-actor.ts";
import type { Outcome } from "./journal.ts";
import { attempt, type Load } from "./load.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

/** So many sessions get messages, and so many each: some begin at once, the others wait. */
const sessionsEach = 4;
const messagesEach = 3;

/** Messages that the node has answered with 202: whatever becomes of it, each runs once or had begun. */
export interface Promised {
  /** Resolves when the node has taken all that it takes of them. */
  readonly taken: Promise<void>;
  /** Resolves when their turns have ended, however that was, and says how many came to an answer. */
  readonly ended: Promise<number>;
}

/** Sends messages without waiting for answers; their senders ask for them until they are there, also of the next node. */
export const sendPromised = (options: {
  readonly world: World;
  readonly load: Load;
  readonly random: Random;
  readonly name: string;
}): Promised => {
  const { world, load, random, name } = options;
  const { journal, hangMs } = load;
  const started: { settled: boolean; taken: boolean }[] = [];

  const send = async (index: number): Promise<readonly Outcome[]> => {
    const { name: session, user } = random.pick(load.sessions);
    const client = `${name}-${index}`;
    const actor = createHttpActor({ name: client, user, world, journal, hangMs });
    const one = async (at: number): Promise<Outcome> => {
      const state = { settled: false, taken: false };
      started.push(state);
      const onTaken = (): void => {
        state.taken = true;
      };
      const outcome = await attempt({
        actor,
        client,
        door: "http",
        session,
        manner: { form: "poll", onTaken },
        marker: `m-${client}-${at}`,
        random,
        world,
        journal,
      });
      state.settled = true;
      return outcome;
    };
    try {
      return await Promise.all(Array.from({ length: messagesEach }, (_, at) => one(at)));
    } finally {
      await actor.close();
    }
  };

  const outcomes = Promise.all(Array.from({ length: sessionsEach }, (_, index) => send(index)));
  return {
    taken: eventually(() => started.every(({ settled, taken }) => settled || taken), {
      what: "messages are taken",
      deadlineMs: hangMs,
    }).then(() => undefined),
    ended: outcomes.then((all) => all.flat().filter(({ kind }) => kind === "answered").length),
  };
};
