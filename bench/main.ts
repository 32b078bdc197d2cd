/** `npm run bench`: Squadron against the bare runtime, over TCP and over stdio, in one interleaved run. */
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { startContenders } from "./contenders.ts";
import { type Counts, forEachContender, measureParallel, measureStreams, measureTurns } from "./phases.ts";
import { memoryMiB } from "./processes.ts";
import { markdownText, type Report, reportOf, terminalText } from "./report.ts";

const usage = `Usage: npm run bench -- [--quick] [--json] [--write] [--profile DIR]
  --quick        a short run
  --json         print JSON instead of a table
  --write        write docs/benchmarks.md as well
  --profile DIR  write the node's processor profile (.cpuprofile) into DIR; costs time itself`;

const full: Counts = {
  sessions: 10,
  turnsPerSession: 30,
  warmUpSessions: 3,
  warmUpTurns: 5,
  streams: 7,
  streamTokens: 1_000,
  parallelSessions: 20,
  parallelRounds: 5,
  parallelTurns: 10,
};
const quick: Counts = {
  ...full,
  sessions: 3,
  warmUpSessions: 1,
  turnsPerSession: 15,
  streams: 3,
  parallelRounds: 2,
  parallelTurns: 5,
};

const measure = async (counts: Counts, profileDirectory: string | undefined): Promise<Report> => {
  await using parts = new AsyncDisposableStack();
  const contenders = await startContenders(parts, { profileDirectory });
  const progress = (text: string) => process.stderr.write(`${text}\n`);
  progress("Single turns …");
  const { samples, cpuPerTurn } = await measureTurns(contenders, counts);
  progress("Long answers …");
  const eventRates = await measureStreams(contenders, counts);
  progress("Parallel sessions …");
  const turnRates = await measureParallel(contenders, counts);
  const memory = await forEachContender(contenders, async ({ gatewayPid, runtimePid }) => ({
    gateway: gatewayPid === undefined ? 0 : memoryMiB(gatewayPid),
    runtime: memoryMiB(runtimePid()),
  }));
  return reportOf({ samples, cpuPerTurn, eventRates, turnRates, memory }, counts);
};

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    write: { type: "boolean", default: false },
    profile: { type: "string" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) console.log(usage);
else {
  const report = await measure(values.quick ? quick : full, values.profile);
  console.log(values.json ? JSON.stringify(report, undefined, 2) : terminalText(report));
  if (values.write) await writeFile(new URL("../docs/benchmarks.md", import.meta.url), markdownText(report));
}
