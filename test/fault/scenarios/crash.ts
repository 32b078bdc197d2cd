import { within } from "../../support/wait.ts";
import { crashAt, crashPoints } from "../crash-points.ts";
import type { Scenario } from "../scenario.ts";
import { runFaults } from "../scenario.ts";

const longestMs = 30_000;

/** The node kills itself at each named point of commit and wake; a round is one point after the other, at a random passing. */
export const crashEverywhere: Scenario = (options) =>
  runFaults(options, {
    settleMs: 2_000,
    async round({ world, load, random, fault }) {
      fault("SIGTERM to the node");
      await world.end("SIGTERM");
      for (const point of crashPoints) {
        // Each session wakes once after a start, and is stored after each of its turns.
        const passings = point.startsWith("restore.") ? load.sessions.length / 2 : load.sessions.length * 2;
        await world.start(crashAt(point, 1 + random.below(passings)));
        if (world.node === undefined) throw new Error("The node does not run.");
        await within(world.node.ended, { what: `a crash at ${point}`, deadlineMs: longestMs });
        fault(`crash at ${point}`);
      }
      await world.start();
      await load.answered(load.sessions.length);
    },
  });
