import type { Attempt } from "../journal.ts";
import { runOn } from "../pause.ts";
import type { Scenario } from "../scenario.ts";
import { runFaults } from "../scenario.ts";
import { removeBoxes, type World } from "../world.ts";

const killNodes =
  (whileDown: (world: World) => Promise<void>): Scenario =>
  (options) =>
    runFaults(options, {
      settleMs: 2_000,
      async round({ world, load, random, fault }) {
        await runOn(random, { least: 200, most: 800 });
        fault("kill -9 of the node");
        await world.end("SIGKILL");
        await whileDown(world);
        await world.start();
        await load.answered(load.sessions.length);
      },
    });

/** kill -9 of the node itself, started again on the same state. */
export const killNode = killNodes(async () => undefined);

/** The same, and all private disks of runtimes are lost meanwhile. */
export const loseBoxes = killNodes(removeBoxes);

/**
 * What a client may see of a rolling restart. A message that was on its way to a connection when it was closed has
 * nobody to answer it: it must not have been begun.
 */
const isToldToRetry = ({ outcome }: Attempt, ran: boolean): boolean =>
  outcome.kind === "answered" ||
  outcome.kind === "refused" ||
  outcome.kind === "interrupted" ||
  (outcome.kind === "lost" && !ran);

/** SIGTERM under load: the node drains and ends with 0, and the next one goes on. */
export const rollingRestart: Scenario = (options) =>
  runFaults(options, {
    settleMs: 2_000,
    expects: isToldToRetry,
    async round({ world, load, random, fault }) {
      await runOn(random, { least: 200, most: 800 });
      fault("SIGTERM to the node");
      const { code, signal, stderr } = await world.end("SIGTERM");
      if (code !== 0) throw new Error(`The node ended with ${code ?? signal}: ${stderr.slice(-2_000)}`);
      await world.start();
      await load.answered(load.sessions.length);
    },
  });
