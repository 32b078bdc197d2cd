import { type Contender, type ContenderName, contenderNames } from "./contenders.ts";
import { cpuMs } from "./processes.ts";
import { openSession, runTurn, type TurnSample } from "./turns.ts";

export type Contenders = Readonly<Record<ContenderName, Contender>>;
export type PerContender<T> = Readonly<Record<ContenderName, T>>;

/** How much is measured. */
export interface Counts {
  /** Sessions one after the other in which single turns are measured, so that no history grows long. */
  readonly sessions: number;
  readonly turnsPerSession: number;
  /** Whole sessions before those, not counted: a program that has just started is slower than one that serves. */
  readonly warmUpSessions: number;
  /** Turns at the beginning of each session, not counted. */
  readonly warmUpTurns: number;
  /** Long streamed answers, for the rate of events. */
  readonly streams: number;
  readonly streamTokens: number;
  readonly parallelSessions: number;
  readonly parallelRounds: number;
  readonly parallelTurns: number;
}

/** Processor time in milliseconds. */
export interface Cpu {
  readonly gateway: number;
  readonly runtime: number;
}

const prompt = "[[tokens 50]]";

export const forEachContender = async <T>(
  contenders: Contenders,
  run: (contender: Contender) => Promise<T>,
): Promise<PerContender<T>> => ({
  squadron: await run(contenders.squadron),
  tcp: await run(contenders.tcp),
  stdio: await run(contenders.stdio),
});

/** Whose turn it is: each round begins with another, so that no place in it favours anybody. */
const orderOf = (round: number): readonly ContenderName[] =>
  contenderNames.map((_, index) => contenderNames[(index + round) % contenderNames.length] ?? "squadron");

const lists = <T>(): PerContender<T[]> => ({ squadron: [], tcp: [], stdio: [] });

const cpuOf = ({ gatewayPid, runtimePid }: Contender): Cpu => ({
  gateway: gatewayPid === undefined ? 0 : cpuMs(gatewayPid),
  runtime: cpuMs(runtimePid()),
});

/** Single turns, turn by turn in turn, and what each cost. */
export const measureTurns = async (
  contenders: Contenders,
  counts: Counts,
): Promise<{ readonly samples: PerContender<TurnSample[]>; readonly cpuPerTurn: PerContender<Cpu> }> => {
  const samples = lists<TurnSample>();
  const cpu = lists<Cpu>();
  for (let block = -counts.warmUpSessions; block < counts.sessions; block++) {
    const sessions = await forEachContender(contenders, openSession);
    let before: PerContender<Cpu> | undefined;
    for (let round = -counts.warmUpTurns; round < counts.turnsPerSession; round++) {
      if (round === 0) before = await forEachContender(contenders, async (one) => cpuOf(one));
      for (const name of orderOf(round + counts.warmUpTurns)) {
        const sample = await runTurn(sessions[name], prompt);
        if (round >= 0 && block >= 0) samples[name].push(sample);
      }
    }
    for (const name of contenderNames) {
      const after = cpuOf(contenders[name]);
      const { gateway, runtime } = before?.[name] ?? after;
      if (block >= 0) cpu[name].push({ gateway: after.gateway - gateway, runtime: after.runtime - runtime });
    }
    await forEachContender(contenders, async ({ name }) => sessions[name].disconnect());
  }
  const perTurn = (name: ContenderName): Cpu => {
    const sum = (of: (one: Cpu) => number) => cpu[name].reduce((total, one) => total + of(one), 0);
    const turns = samples[name].length;
    return { gateway: sum((one) => one.gateway) / turns, runtime: sum((one) => one.runtime) / turns };
  };
  return {
    samples,
    cpuPerTurn: { squadron: perTurn("squadron"), tcp: perTurn("tcp"), stdio: perTurn("stdio") },
  };
};

/** Events per second of long streamed answers. */
export const measureStreams = async (
  contenders: Contenders,
  counts: Counts,
): Promise<PerContender<number[]>> => {
  const rates = lists<number>();
  for (let round = 0; round < counts.streams; round++) {
    for (const name of orderOf(round)) {
      const session = await openSession(contenders[name]);
      await runTurn(session, prompt);
      const { totalMs, events } = await runTurn(session, `[[tokens ${counts.streamTokens}]]`);
      rates[name].push((events / totalMs) * 1000);
      await session.disconnect();
    }
  }
  return rates;
};

/** Turns per second of sessions in parallel, all of one client; one figure a round. */
export const measureParallel = async (
  contenders: Contenders,
  counts: Counts,
): Promise<PerContender<number[]>> => {
  const rates = lists<number>();
  const openAll = (contender: Contender) =>
    Promise.all(Array.from({ length: counts.parallelSessions }, () => openSession(contender)));
  for (let round = 0; round < counts.parallelRounds; round++) {
    for (const name of orderOf(round)) {
      const sessions = await openAll(contenders[name]);
      await Promise.all(sessions.map((session) => runTurn(session, prompt)));
      const startedAt = performance.now();
      await Promise.all(
        sessions.map(async (session) => {
          for (let turn = 0; turn < counts.parallelTurns; turn++) await runTurn(session, prompt);
        }),
      );
      const seconds = (performance.now() - startedAt) / 1000;
      rates[name].push((sessions.length * counts.parallelTurns) / seconds);
      await Promise.all(sessions.map((session) => session.disconnect()));
    }
  }
  return rates;
};
