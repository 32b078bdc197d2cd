import { tally } from "../journal.ts";
import { startLoad } from "../load.ts";
import { runOn } from "../pause.ts";
import { createRandom, type Random } from "../random.ts";
import type { Scenario } from "../scenario.ts";
import { followSessions } from "../stream-readers.ts";
import { createWorld, type World } from "../world.ts";
import { killOne } from "./runtimes.ts";

/** So many readers follow each session. */
const each = 3;

const restart =
  (signal: NodeJS.Signals) =>
  async (world: World): Promise<void> => {
    await world.end(signal);
    await world.start();
  };

const kill = (world: World, random: Random): Promise<void> => killOne(world, random, () => undefined);

/** One after the other, so that each comes as often. */
const faults = [kill, restart("SIGKILL"), kill, restart("SIGTERM")];

/**
 * Readers whose connections are cut at random follow every session, while clients of both doors talk in them and runtimes
 * and nodes are killed and restarted: what each has read must be the history.
 */
export const cutStreams: Scenario = async ({ rounds, seed, clients, say }) => {
  await using world = await createWorld();
  const load = startLoad(world, { clients, seed });
  const random = createRandom(seed);
  const { journal } = load;
  try {
    await load.answered(clients);
    const readers = await followSessions({ world, sessions: load.sessions, each, random });
    try {
      for (let round = 1; round <= rounds; round++) {
        await runOn(random, { least: 100, most: 500 });
        await faults[(round - 1) % faults.length]?.(world, random);
        await load.answered(load.sessions.length);
        say(`round ${round} of ${rounds}: ${JSON.stringify(tally(journal))}`);
      }
      await load.stop();
      const violations = await readers.compare();
      const { events, reconnects, rewinds } = readers;
      return {
        violations,
        outcomes: tally(journal),
        slowestMs: 0,
        faults: rounds,
        setupErrors: {},
        notes: [`${events} events, ${reconnects} reconnects, ${rewinds} rewinds`],
      };
    } finally {
      await readers.stop();
    }
  } finally {
    await load.stop();
  }
};
