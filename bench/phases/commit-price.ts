import { readFileSync } from "node:fs";
import type { CopilotSession } from "@github/copilot-sdk";
import { tempDir } from "../../test/support/temp.ts";
import type { Phase } from "../phase.ts";
import { cpuMs } from "../processes.ts";
import { inTurn, lists } from "../rounds.ts";
import { startNodeProcess } from "../squadron.ts";
import { median, percentile } from "../statistics.ts";
import { runQueued, runTurn, sessionConfig, type TurnSample } from "../turns.ts";

const full = { blocks: 12, turnsPerBlock: 20, warmUpBlocks: 2 };
const quick = { blocks: 4, turnsPerBlock: 15, warmUpBlocks: 1 };

const names = ["kept", "queued", "unkept"] as const;
type Name = (typeof names)[number];

interface Costs {
  readonly cpu: number;
  readonly statements: number;
  readonly synced: number;
  readonly bytes: number;
  readonly storeMs: number;
  readonly written: number;
}

/** Bytes that a process has given the disks to write, pages of the store's journal included. */
const writtenBytes = (pid: number): number =>
  Number(/^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1]);

/** Turns of one node: in sessions that are kept, and in sessions of which nothing is stored. */
export const commitPrice: Phase = async ({ modelUrl, quick: isQuick }) => {
  await using parts = new AsyncDisposableStack();
  const counts = isQuick ? quick : full;
  const directory = parts.use(await tempDir("bench"));
  const node = await startNodeProcess(parts, {
    directory: directory.path,
    modelUrl,
    isolation: "shared",
    users: 1,
  });
  const client = node.client();
  const meanTimes = lists<Name>(names);
  const turnTimes = lists<Name>(names);
  const firstTokens = lists<Name>(names);
  const costs = lists<Name, Costs>(names);

  const costsNow = async (): Promise<Costs> => {
    const { store } = await node.figures();
    return {
      cpu: cpuMs(node.pid),
      statements: store.statements,
      synced: store.synced,
      bytes: store.bytes,
      storeMs: store.ms,
      written: writtenBytes(node.pid),
    };
  };

  const runOneByOne = async (session: CopilotSession, samples: TurnSample[]): Promise<void> => {
    for (let turn = 0; turn < counts.turnsPerBlock; turn++) samples.push(await runTurn(session));
  };

  const runBlock = async (name: Name, session: CopilotSession, block: number): Promise<void> => {
    const samples: TurnSample[] = [];
    const before = await costsNow();
    const startedAt = performance.now();
    if (name === "queued") await runQueued(session, counts.turnsPerBlock);
    else await runOneByOne(session, samples);
    const perTurnMs = (performance.now() - startedAt) / counts.turnsPerBlock;
    const after = await costsNow();
    const perTurn = (of: keyof Costs) => (after[of] - before[of]) / counts.turnsPerBlock;
    if (block < 0) return;
    meanTimes[name].push(perTurnMs);
    turnTimes[name].push(...samples.map(({ totalMs }) => totalMs));
    firstTokens[name].push(...samples.map(({ firstTokenMs }) => firstTokenMs));
    costs[name].push({
      cpu: perTurn("cpu"),
      statements: perTurn("statements"),
      synced: perTurn("synced"),
      bytes: perTurn("bytes"),
      storeMs: perTurn("storeMs"),
      written: perTurn("written"),
    });
  };

  for (let block = -counts.warmUpBlocks; block < counts.blocks; block++) {
    await node.makeUnkept(`unkept-${block}`);
    for (const name of inTurn(names, block)) {
      const session = await client.createSession({ ...sessionConfig(), sessionId: `${name}-${block}` });
      await runTurn(session);
      await runBlock(name, session, block);
      await session.disconnect();
    }
  }

  const mean = (name: Name, of: keyof Costs) =>
    costs[name].reduce((total, one) => total + one[of], 0) / costs[name].length;
  const row = (figure: string, unit: string, of: (name: Name) => number) => ({
    figure,
    unit,
    values: {
      kept: of("kept"),
      queued: of("queued"),
      unkept: of("unkept"),
      price: of("kept") - of("unkept"),
      queuePrice: of("queued") - of("kept"),
    },
  });
  /** Of turns one by one: what waits in line has no time of its own. */
  const single = (figure: string, of: (name: Name) => number) => ({
    figure,
    unit: "ms",
    values: { kept: of("kept"), unkept: of("unkept"), price: of("kept") - of("unkept") },
  });
  return {
    name: "commit-price",
    title: "The price of the commit and of the queue",
    columns: {
      kept: "stored",
      queued: "queued",
      unkept: "not stored",
      price: "price of the commit",
      queuePrice: "of the queue",
    },
    ratios: [
      { head: "stored : not stored", of: "kept", to: "unkept" },
      { head: "queued : stored", of: "queued", to: "kept" },
    ],
    rows: [
      row("a block of turns, per turn", "ms", (name) => median(meanTimes[name])),
      single("turn", (name) => median(turnTimes[name])),
      single("turn, p99", (name) => percentile(turnTimes[name], 0.99)),
      single("first token", (name) => median(firstTokens[name])),
      row("gateway CPU per turn", "ms", (name) => mean(name, "cpu")),
      row("time in the store per turn", "ms", (name) => mean(name, "storeMs")),
      row("SQL statements per turn", "", (name) => mean(name, "statements")),
      row("writes synced to disk per turn", "", (name) => mean(name, "synced")),
      row("bytes of files stored per turn", "KiB", (name) => mean(name, "bytes") / 1024),
      row("bytes written to disk per turn", "KiB", (name) => mean(name, "written") / 1024),
    ],
    counts: `${counts.blocks * counts.turnsPerBlock} turns each, in blocks of ${counts.turnsPerBlock} in a session of their own, in turn (${counts.warmUpBlocks} blocks before them not counted).`,
    text: `A queued turn's message has waited: all of a block are sent at once, and each is stored with what it says before it is
acknowledged. What it costs that a turn's beginning is stored before the runtime gets its message, and that its end is told only when
all that it changed is stored: the same turns of the same node in sessions that are kept, and in one-shot sessions, of
which nothing is stored. Of the files a commit stores only what was added or replaced; SQLite writes whole pages of 4 KiB,
once to its journal and later, many turns together, to the database.`,
  };
};
