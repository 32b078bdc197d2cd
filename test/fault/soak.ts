/**
 * The long versions of the fault tests: `node test/fault/soak.ts --scenario kill-runtime --rounds 200 --seed 1
 * [--clients 20] [--evidence FILE]`. Prints a line per round and the result as JSON; ends with 1 if there is a violation.
 */
import { parseArgs } from "node:util";
import type { Scenario } from "./scenario.ts";
import { crashEverywhere } from "./scenarios/crash.ts";
import { crowd, room } from "./scenarios/crowd.ts";
import { manySessions } from "./scenarios/many-sessions.ts";
import { killNode, loseBoxes, rollingRestart } from "./scenarios/nodes.ts";
import { hangRuntime, killRuntime } from "./scenarios/runtimes.ts";
import { fillDisk, lockStore } from "./scenarios/store.ts";
import { cutStreams } from "./scenarios/streams.ts";
import { zombie } from "./scenarios/zombie.ts";

const scenarios: Readonly<Record<string, Scenario>> = {
  "kill-runtime": killRuntime,
  "hang-runtime": hangRuntime,
  "kill-node": killNode,
  "lose-boxes": loseBoxes,
  "rolling-restart": rollingRestart,
  "lock-store": lockStore,
  "fill-disk": fillDisk,
  "crash-everywhere": crashEverywhere,
  zombie,
  "many-sessions": manySessions,
  "cut-streams": cutStreams,
  crowd,
  room,
};

/** When its connection has just ended, the SDK's library rejects a promise that nobody holds, beside the one that it gave out. */
const endedConnection = new Set([
  "EPIPE",
  "ECONNRESET",
  "ERR_STREAM_DESTROYED",
  "ERR_STREAM_WRITE_AFTER_END",
]);
process.on("unhandledRejection", (error) => {
  if (error instanceof Error && "code" in error && endedConnection.has(String(error.code))) return;
  throw error;
});
// Whoever started us and waits for us has gone; our children are killed when we end.
process.once("disconnect", () => process.exit(1));
process.channel?.unref();

const { values } = parseArgs({
  options: {
    scenario: { type: "string", default: "kill-runtime" },
    rounds: { type: "string", default: "200" },
    seed: { type: "string", default: "1" },
    clients: { type: "string", default: "20" },
    evidence: { type: "string" },
  },
});
const scenario = scenarios[values.scenario];
if (scenario === undefined) {
  throw new Error(`There is no scenario ${values.scenario}; there are ${Object.keys(scenarios).join(", ")}.`);
}
const result = await scenario({
  rounds: Number(values.rounds),
  seed: Number(values.seed),
  clients: Number(values.clients),
  say: (line) => process.stderr.write(`${line}\n`),
  ...(values.evidence !== undefined && { evidenceFile: values.evidence }),
});
// The SDK's timers of calls whose connections were cut would keep us for their whole deadline.
process.stdout.write(`${JSON.stringify(result, null, 2)}\n`, () =>
  process.exit(result.violations.length > 0 ? 1 : 0),
);
