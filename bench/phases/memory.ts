import type { CopilotSession } from "@github/copilot-sdk";
import { tempDir } from "../../test/support/temp.ts";
import { type Contender, startOverStdio } from "../contenders.ts";
import type { Bench, Phase } from "../phase.ts";
import { descendantsOf, memoryMiB, sumOf } from "../processes.ts";
import { bareProvider } from "../programs.ts";
import { inTurn, lists } from "../rounds.ts";
import { startNodeProcess } from "../squadron.ts";
import { openSession, runTurn } from "../turns.ts";

const full = { sessions: 10, turns: 1_000, recycleAt: 250 };
const quick = { sessions: 5, turns: 150, recycleAt: 50 };
/** Turns of one session in a block; after it the next contender has its turn. */
const blockTurns = 10;
const sampleEveryMs = 200;

const names = ["recycled", "kept", "bare"] as const;
type Name = (typeof names)[number];

interface Runner {
  readonly sessions: readonly CopilotSession[];
  /** Its runtimes, all that there are now. */
  pids(): readonly number[];
  settled(): Promise<unknown>;
}

const openAll = (contender: Pick<Contender, "client" | "provider">, count: number) =>
  Promise.all(Array.from({ length: count }, () => openSession(contender)));

const onNode = async (
  parts: AsyncDisposableStack,
  { modelUrl }: Bench,
  sessions: number,
  recycleAt: number | undefined,
): Promise<Runner> => {
  const directory = parts.use(await tempDir("bench"));
  const never = Number.MAX_SAFE_INTEGER;
  const node = await startNodeProcess(parts, {
    directory: directory.path,
    modelUrl,
    isolation: "shared",
    runtimes: {
      probeEveryMs: 500,
      recycle: { turns: recycleAt ?? never, memoryBytes: never, ageMs: never },
    },
    users: 1,
  });
  return {
    sessions: await openAll({ client: node.client(), provider: undefined }, sessions),
    pids: () => descendantsOf(node.pid),
    settled: () => node.until(({ runtimes }) => runtimes.length <= 1, "only one runtime is left"),
  };
};

const onBare = async (
  parts: AsyncDisposableStack,
  { modelUrl }: Bench,
  sessions: number,
): Promise<Runner> => {
  const home = parts.use(await tempDir("bench-stdio"));
  const { client, pid } = await startOverStdio(parts, home.path);
  return {
    sessions: await openAll({ client, provider: bareProvider(modelUrl) }, sessions),
    pids: () => [pid],
    settled: async () => undefined,
  };
};

/** A runtime's memory after many turns. */
export const memory: Phase = async (bench) => {
  await using parts = new AsyncDisposableStack();
  const counts = bench.quick ? quick : full;
  const runners: Readonly<Record<Name, Runner>> = {
    recycled: await onNode(parts, bench, counts.sessions, counts.recycleAt),
    kept: await onNode(parts, bench, counts.sessions, undefined),
    bare: await onBare(parts, bench, counts.sessions),
  };
  const memoryOf = (name: Name): number => sumOf(runners[name].pids(), memoryMiB);
  const samples = lists<Name>(names);
  const times = lists<Name>(names);
  const seen = { recycled: new Set<number>(), kept: new Set<number>(), bare: new Set<number>() };
  const blocks = counts.turns / counts.sessions / blockTurns;
  for (let block = 0; block < blocks; block++) {
    for (const name of inTurn(names, block)) {
      const sample = () => {
        samples[name].push(memoryOf(name));
        for (const pid of runners[name].pids()) seen[name].add(pid);
      };
      const timer = setInterval(sample, sampleEveryMs);
      const startedAt = performance.now();
      try {
        await Promise.all(
          runners[name].sessions.map(async (session) => {
            for (let turn = 0; turn < blockTurns; turn++) await runTurn(session);
          }),
        );
      } finally {
        clearInterval(timer);
      }
      times[name].push(performance.now() - startedAt);
      sample();
    }
  }
  for (const name of names) await runners[name].settled();

  const row = (figure: string, unit: string, of: (name: Name) => number) => ({
    figure,
    unit,
    values: { recycled: of("recycled"), kept: of("kept"), bare: of("bare") },
  });
  const total = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0);
  return {
    name: "memory",
    title: "Memory after many turns",
    columns: {
      recycled: `Squadron, recycled every ${counts.recycleAt} turns`,
      kept: "Squadron, never recycled",
      bare: "bare stdio",
    },
    ratios: [
      { head: "recycled to bare", of: "recycled", to: "bare" },
      { head: "never to bare", of: "kept", to: "bare" },
    ],
    rows: [
      row("runtimes at the end", "MiB", memoryOf),
      row("runtimes at most", "MiB", (name) => Math.max(...samples[name])),
      row("runtimes used", "", (name) => seen[name].size),
      row("turns", "turns/s", (name) => counts.turns / (total(times[name]) / 1000)),
    ],
    counts: `${counts.turns} small turns each, in ${counts.sessions} sessions in parallel.`,
    text: `A runtime's memory grows with every turn and comes back only when its process ends. Recycled, the sessions move to a
fresh runtime, each when it is idle, and the old one is killed; the most is then what both have for a moment. The default
is every 2,000 turns, or at 1 GiB; here it is more often, so that a short run shows it, and what it shows is less the
height than that it does not grow with the turns. The guide has nothing for it.`,
  };
};
