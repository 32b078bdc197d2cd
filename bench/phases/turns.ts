import {
  type ContenderName,
  type Contenders,
  contenderNames,
  forEachContender,
  type PerContender,
  startContenders,
} from "../contenders.ts";
import type { Phase } from "../phase.ts";
import { memoryMiB } from "../processes.ts";
import { inTurn, lists } from "../rounds.ts";
import type { Row } from "../section.ts";
import { median, percentile } from "../statistics.ts";
import { openSession, runTurn, type TurnSample } from "../turns.ts";
import { measureTurns } from "./single-turns.ts";

const full = {
  turns: { sessions: 10, turnsPerSession: 30, warmUpSessions: 3, warmUpTurns: 5 },
  streams: 7,
  streamTokens: 1_000,
  parallelSessions: 20,
  parallelRounds: 5,
  parallelTurns: 10,
};
type Counts = typeof full;
const quick: Counts = {
  ...full,
  turns: { sessions: 3, turnsPerSession: 15, warmUpSessions: 1, warmUpTurns: 5 },
  streams: 3,
  parallelRounds: 2,
  parallelTurns: 5,
};

/** Events per second of long streamed answers. */
const measureStreams = async (contenders: Contenders, counts: Counts): Promise<PerContender<number[]>> => {
  const rates = lists(contenderNames);
  for (let round = 0; round < counts.streams; round++) {
    for (const name of inTurn(contenderNames, round)) {
      const session = await openSession(contenders[name]);
      await runTurn(session);
      const { totalMs, events } = await runTurn(session, `[[tokens ${counts.streamTokens}]]`);
      rates[name].push((events / totalMs) * 1000);
      await session.disconnect();
    }
  }
  return rates;
};

/** Turns per second of sessions in parallel, all of one client; one figure a round. */
const measureParallel = async (contenders: Contenders, counts: Counts): Promise<PerContender<number[]>> => {
  const rates = lists(contenderNames);
  for (let round = 0; round < counts.parallelRounds; round++) {
    for (const name of inTurn(contenderNames, round)) {
      const sessions = await Promise.all(
        Array.from({ length: counts.parallelSessions }, () => openSession(contenders[name])),
      );
      await Promise.all(sessions.map((session) => runTurn(session)));
      const startedAt = performance.now();
      await Promise.all(
        sessions.map(async (session) => {
          for (let turn = 0; turn < counts.parallelTurns; turn++) await runTurn(session);
        }),
      );
      const seconds = (performance.now() - startedAt) / 1000;
      rates[name].push((sessions.length * counts.parallelTurns) / seconds);
      await Promise.all(sessions.map((session) => session.disconnect()));
    }
  }
  return rates;
};

const countsText = ({ turns, ...counts }: Counts): string =>
  `${turns.sessions * turns.turnsPerSession} single turns each, in ${turns.sessions} sessions ` +
  `(not counted: ${turns.warmUpSessions} whole sessions before them, ${turns.warmUpTurns} turns at the beginning of each); ` +
  `${counts.streams} answers of ${counts.streamTokens} tokens; ` +
  `${counts.parallelRounds} rounds of ${counts.parallelSessions} parallel sessions of ${counts.parallelTurns} turns.`;

/** Turns through Squadron, on a bare runtime over TCP, and on one over stdio. */
export const turns: Phase = async (bench) => {
  await using parts = new AsyncDisposableStack();
  const counts = bench.quick ? quick : full;
  const contenders = await startContenders(parts, bench.modelUrl, bench.profileDirectory);
  const { samples, cpuPerTurn } = await measureTurns(contenders, counts.turns);
  const eventRates = await measureStreams(contenders, counts);
  const turnRates = await measureParallel(contenders, counts);
  const runtimeMemory = await forEachContender(contenders, async (one) => memoryMiB(one.runtimePid()));
  const gateway = contenders.squadron.gatewayPid ?? 0;

  const row = (figure: string, unit: string, of: (name: ContenderName) => number, aim = ""): Row => ({
    figure,
    unit,
    values: { squadron: of("squadron"), tcp: of("tcp"), stdio: of("stdio") },
    aim,
  });
  const ofTurns = (share: number, time: (sample: TurnSample) => number) => (name: ContenderName) =>
    percentile(samples[name].map(time), share);
  const total = (sample: TurnSample) => sample.totalMs;
  const firstToken = (sample: TurnSample) => sample.firstTokenMs;
  const share = (cpuPerTurn.squadron.gateway / cpuPerTurn.squadron.runtime) * 100;
  return {
    name: "turns",
    title: "Turns",
    columns: { squadron: "Squadron", tcp: "bare TCP", stdio: "bare stdio" },
    ratios: [
      { head: "to TCP", of: "squadron", to: "tcp" },
      { head: "to stdio", of: "squadron", to: "stdio" },
    ],
    rows: [
      row("turn", "ms", ofTurns(0.5, total), "≤ 0.15 × TCP, ≤ 1.2 × stdio"),
      row("turn, p99", "ms", ofTurns(0.99, total)),
      row("first token", "ms", ofTurns(0.5, firstToken), "≤ 0.15 × TCP, ≤ 1.2 × stdio"),
      row("first token, p99", "ms", ofTurns(0.99, firstToken)),
      row("events of one long answer", "events/s", (name) => median(eventRates[name])),
      row("parallel sessions", "turns/s", (name) => median(turnRates[name]), "≥ 1 × TCP"),
      row("runtime CPU per turn", "ms", (name) => cpuPerTurn[name].runtime),
      {
        figure: "gateway CPU per turn",
        unit: "ms",
        values: { squadron: cpuPerTurn.squadron.gateway },
        aim: "≤ 20 % of the runtime's",
      },
      { figure: "the same, of the runtime's", unit: "%", values: { squadron: share }, aim: "≤ 20" },
      row("runtime memory at the end", "MiB", (name) => runtimeMemory[name]),
      { figure: "gateway memory at the end", unit: "MiB", values: { squadron: memoryMiB(gateway) } },
    ],
    counts: countsText(counts),
    text: `The same turns, turn by turn in turn: through Squadron; on a bare runtime over TCP, as the server guide runs it; on
a bare runtime over stdio. A turn streams an answer of 50 tokens. Through Squadron each is stored before its end is told.

Most of a turn's time over bare TCP is Nagle's algorithm meeting delayed acknowledgements: the runtime's socket lacks
\`TCP_NODELAY\` and the SDK writes a frame's header and body apart, so each side waits about 40 ms for the other. Squadron
sets it, writes a frame in one piece and answers an incomplete frame at once.`,
  };
};
