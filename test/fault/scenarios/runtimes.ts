import { eventually } from "../../support/wait.ts";
import { runOn } from "../pause.ts";
import type { Random } from "../random.ts";
import type { Scenario } from "../scenario.ts";
import { runFaults } from "../scenario.ts";
import type { RunningRuntime, World } from "../world.ts";

/** Sends a signal; false when the process has gone meanwhile. */
const signal = (pid: number, name: NodeJS.Signals | 0): boolean => {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
};

/** Runtimes that somebody uses. */
const inUse = async (world: World): Promise<readonly RunningRuntime[]> =>
  (await world.runtimes()).filter(({ unitKey }) => unitKey !== "");

/** kill -9 of a random runtime that somebody uses, if there is one; `fault` is told which, just before. */
export const killOne = async (world: World, random: Random, fault: (what: string) => void): Promise<void> => {
  const running = await inUse(world);
  if (running.length === 0) return;
  const { pid, unitKey } = random.pick(running);
  fault(`kill -9 of the runtime of ${unitKey}`);
  signal(pid, "SIGKILL");
};

/** kill -9 of a random runtime under load, again and again. */
export const killRuntime: Scenario = (options) =>
  runFaults(options, {
    settleMs: 2_000,
    async round({ world, random, fault }) {
      await runOn(random, { least: 100, most: 500 });
      await killOne(world, random, fault);
    },
  });

const probeEveryMs = 500;
/** The deadline of a probe. */
const probeDeadlineMs = 5_000;
/** A unit whose runtimes die one after the other waits up to so long for its next one. */
const longestBackOffMs = 5_000;
const settleMs = probeEveryMs + probeDeadlineMs + 2_000;

/** Random runtimes hang: they are stopped, and nothing else tells so. */
export const hangRuntime: Scenario = (options) =>
  runFaults(options, {
    world: { config: { runtimes: { probeEvery: `${probeEveryMs}ms` } } },
    settleMs,
    // A message that has not begun may wait for one hung runtime after the other.
    hangMs: 3 * (settleMs + longestBackOffMs),
    async round({ world, load, random, fault }) {
      await runOn(random, { least: 100, most: 500 });
      const running = [...(await inUse(world))];
      const stopped: number[] = [];
      for (let count = 0; count < 3 && running.length > 0; count++) {
        const victim = random.pick(running);
        running.splice(running.indexOf(victim), 1);
        fault(`SIGSTOP of the runtime of ${victim.unitKey}`);
        if (signal(victim.pid, "SIGSTOP")) stopped.push(victim.pid);
      }
      await eventually(() => !stopped.some((pid) => signal(pid, 0)), {
        what: "the end of hung runtimes",
        deadlineMs: settleMs,
      });
      await load.answered(5);
    },
  });
