import {
  type Contender,
  type ContenderName,
  type Contenders,
  contenderNames,
  forEachContender,
  type PerContender,
} from "../contenders.ts";
import { cpuMs } from "../processes.ts";
import { inTurn, lists } from "../rounds.ts";
import { openSession, runTurn, type TurnSample } from "../turns.ts";

export interface TurnCounts {
  /** Sessions one after the other in which single turns are measured, so that no history grows long. */
  readonly sessions: number;
  readonly turnsPerSession: number;
  /** Whole sessions before those, not counted: a program that has just started is slower than one that serves. */
  readonly warmUpSessions: number;
  /** Turns at the beginning of each session, not counted. */
  readonly warmUpTurns: number;
}

/** Processor time in milliseconds. */
export interface Cpu {
  readonly gateway: number;
  readonly runtime: number;
}

const cpuOf = ({ gatewayPid, runtimePid }: Contender): Cpu => ({
  gateway: gatewayPid === undefined ? 0 : cpuMs(gatewayPid),
  runtime: cpuMs(runtimePid()),
});

/** Single turns, turn by turn in turn, and what each cost. */
export const measureTurns = async (
  contenders: Contenders,
  counts: TurnCounts,
): Promise<{ readonly samples: PerContender<TurnSample[]>; readonly cpuPerTurn: PerContender<Cpu> }> => {
  const samples = lists<ContenderName, TurnSample>(contenderNames);
  const cpu = lists<ContenderName, Cpu>(contenderNames);
  for (let block = -counts.warmUpSessions; block < counts.sessions; block++) {
    const sessions = await forEachContender(contenders, openSession);
    let before: PerContender<Cpu> | undefined;
    for (let round = -counts.warmUpTurns; round < counts.turnsPerSession; round++) {
      if (round === 0) before = await forEachContender(contenders, async (one) => cpuOf(one));
      for (const name of inTurn(contenderNames, round)) {
        const sample = await runTurn(sessions[name]);
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
