import type { Attempt } from "../journal.ts";
import { runOn } from "../pause.ts";
import { sendPromised } from "../promises.ts";
import type { Scenario } from "../scenario.ts";
import { runFaults } from "../scenario.ts";
import { removeBoxes, type World } from "../world.ts";

/** What was answered with 202 comes to an answer, unless it had begun. */
const keepsPromise = ({ takenAt, outcome }: Attempt): boolean =>
  takenAt === undefined || outcome.kind === "answered" || outcome.kind === "interrupted";

const killNodes =
  (whileDown: (world: World) => Promise<void>): Scenario =>
  (options) =>
    runFaults(options, {
      settleMs: 2_000,
      expects: keepsPromise,
      async round({ world, load, random, round, fault }) {
        await runOn(random, { least: 200, most: 800 });
        const promised = sendPromised({ world, load, random, name: `promised-${round}` });
        await promised.taken;
        await runOn(random, { least: 0, most: 200 });
        fault("kill -9 of the node");
        await world.end("SIGKILL");
        await whileDown(world);
        await world.start();
        // Only the next node can say what had begun.
        fault("start of the node");
        await Promise.all([load.answered(load.sessions.length), promised.ended]);
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
