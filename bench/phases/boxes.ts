import { chmod } from "node:fs/promises";
import { sandboxAbilities } from "../../src/fleet/sandbox/host.ts";
import { tempDir } from "../../test/support/temp.ts";
import type { Bench, Phase } from "../phase.ts";
import { cpuMs, descendantsOf, sumOf } from "../processes.ts";
import { inTurn, lists } from "../rounds.ts";
import type { Row } from "../section.ts";
import { type BenchNode, startNodeProcess } from "../squadron.ts";
import { percentile } from "../statistics.ts";
import { runTurn, sessionConfig, type TurnSample } from "../turns.ts";

const full = { sessions: 8, turns: 25, warmUp: 2, starts: 8 };
const quick = { sessions: 3, turns: 15, warmUp: 1, starts: 3 };

const names = ["inside", "outside"] as const;
type Name = (typeof names)[number];

const startNode = async (
  parts: AsyncDisposableStack,
  { modelUrl }: Bench,
  kind: "bubblewrap" | "none",
): Promise<BenchNode> => {
  const directory = parts.use(await tempDir("bench"));
  // The boxes' users must get to the state below it.
  await chmod(directory.path, 0o711);
  const sandbox = { kind, network: "none", memoryBytes: 2 * 2 ** 30, processes: 128, cpus: 1 } as const;
  return startNodeProcess(parts, {
    directory: directory.path,
    modelUrl,
    isolation: "user",
    runtimes: { sandbox },
    users: 1,
  });
};

const columns = { inside: "in a box", outside: "outside" };
const title = "Turns in a sandbox";

/** Turns whose runtime is in a bubblewrap box without network, beside turns of one that is in none. */
export const boxes: Phase = async (bench) => {
  const { bubblewrap, ownNetwork } = await sandboxAbilities();
  const missing = [bubblewrap, ownNetwork].find(({ able }) => !able);
  if (missing !== undefined)
    return {
      name: "boxes",
      title,
      columns,
      ratios: [],
      rows: [],
      counts: "Not measured.",
      text: `This host cannot have boxes: ${missing.message}`,
    };
  await using parts = new AsyncDisposableStack();
  const counts = bench.quick ? quick : full;
  const nodes: Readonly<Record<Name, BenchNode>> = {
    inside: await startNode(parts, bench, "bubblewrap"),
    outside: await startNode(parts, bench, "none"),
  };
  const clients = { inside: nodes.inside.client(), outside: nodes.outside.client() };
  const starts = lists<Name>(names);
  for (let round = -1; round < counts.starts; round++)
    for (const name of inTurn(names, round)) {
      await nodes[name].release();
      const startedAt = performance.now();
      const session = await clients[name].createSession(sessionConfig());
      await runTurn(session);
      if (round >= 0) starts[name].push(performance.now() - startedAt);
      await session.disconnect();
    }

  const samples = lists<Name, TurnSample>(names);
  const cpu = { inside: 0, outside: 0 };
  const cpuOf = (name: Name) => sumOf(descendantsOf(nodes[name].pid), cpuMs);
  for (let block = -counts.warmUp; block < counts.sessions; block++) {
    const sessions = {
      inside: await clients.inside.createSession(sessionConfig()),
      outside: await clients.outside.createSession(sessionConfig()),
    };
    for (const name of names) {
      await runTurn(sessions[name]);
      if (block >= 0) cpu[name] -= cpuOf(name);
    }
    for (let turn = 0; turn < counts.turns; turn++)
      for (const name of inTurn(names, turn)) {
        const sample = await runTurn(sessions[name]);
        if (block >= 0) samples[name].push(sample);
      }
    for (const name of names) {
      if (block >= 0) cpu[name] += cpuOf(name);
      await sessions[name].disconnect();
    }
  }

  const turns = counts.sessions * counts.turns;
  const row = (figure: string, of: (name: Name) => number, aim = ""): Row => ({
    figure,
    unit: "ms",
    values: { inside: of("inside"), outside: of("outside") },
    aim,
  });
  const total = (name: Name) => samples[name].map(({ totalMs }) => totalMs);
  const firstToken = (name: Name) => samples[name].map(({ firstTokenMs }) => firstTokenMs);
  return {
    name: "boxes",
    title,
    columns,
    ratios: [{ head: "ratio", of: "inside", to: "outside" }],
    rows: [
      row("turn", (name) => percentile(total(name), 0.5), "≤ 1.3 ×"),
      row("turn, p99", (name) => percentile(total(name), 0.99)),
      row("first token", (name) => percentile(firstToken(name), 0.5)),
      row("runtime CPU per turn", (name) => cpu[name] / turns),
      row("first answer, runtime to be started", (name) => percentile(starts[name], 0.5)),
    ],
    counts: `${turns} turns each in ${counts.sessions} sessions (${counts.warmUp} before them not counted); ${counts.starts} starts.`,
    text: `\`sandbox: { kind: bubblewrap, network: none }\` beside \`kind: none\`: the same turns through two nodes. In the box the
runtime has namespaces, limits and a user of its own and no network; its model calls come over its pipe as they do outside.`,
  };
};
