import type { Isolation } from "../kernel/isolation.ts";
import type { RuntimeState } from "../telemetry/metrics.ts";
import type { RuntimeFacts } from "./health.ts";
import type { Life, RetireReason } from "./life.ts";
import type { ProcessFigures } from "./process-table.ts";
import type { Runtime, RuntimeLife } from "./runtime.ts";
import { createTurnCounter, type TurnCounter } from "./turn-times.ts";

/** A process of the node, with what the fleet knows of it beside its life. Moments are monotonic. */
export interface Member {
  readonly life: RuntimeLife;
  readonly bornAt: number;
  readonly turns: TurnCounter;
  /** Of the last probe. */
  figures: ProcessFigures;
  /** Settles when its unit can use it; absent for a spare. Undefined: it had died as a spare. */
  ready: Promise<Runtime | undefined> | undefined;
  readyAt: number | undefined;
  /** Why it is to be replaced. */
  worn: RetireReason | undefined;
  /** Its unit may have another one; true until its end. */
  retired: boolean;
  endProbing(): void;
}

export const newMember = (life: RuntimeLife, bornAt: number): Member => ({
  life,
  bornAt,
  turns: createTurnCounter(),
  figures: {},
  ready: undefined,
  readyAt: undefined,
  worn: undefined,
  retired: false,
  endProbing: () => undefined,
});

export const isEnding = ({ life }: RuntimeLife): boolean =>
  life.state === "stopping" || life.state === "gone";

export const factsOf = ({ figures, bornAt, turns }: Member, now: number): RuntimeFacts => ({
  ...figures,
  ageMs: now - bornAt,
  turns: turns.times,
});

/** A process as people are told of it. */
export interface RuntimeStatus {
  readonly id: string;
  /** Absent while it belongs to no unit. */
  readonly isolation?: Isolation;
  readonly unitKey?: string;
  readonly state: RuntimeState;
  /** Why it is retiring or stopping. */
  readonly reason?: string;
  /** Absent before the process has been spawned. */
  readonly pid?: number;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  readonly ageMs: number;
  /** Turns that it has run. */
  readonly turns: number;
  /** Figures of the last probe. Proportional memory (PSS); absent where the system does not tell. */
  readonly memoryBytes?: number;
  readonly cpuSeconds?: number;
  readonly openFiles?: number;
}

/** What people are told: getting its files belongs to a start, and its last moment to its end. */
export const visibleState = ({ state }: Life): RuntimeState => {
  if (state === "binding") return "starting";
  return state === "gone" ? "stopping" : state;
};

export const statusOf = (member: Member, now: number): RuntimeStatus => {
  const { life, figures, turns } = member;
  const { memoryBytes, cpuSeconds, openFiles } = figures;
  const { unit, pid } = life;
  return {
    id: life.id,
    ...(unit !== undefined && { isolation: unit.isolation, unitKey: unit.key }),
    state: visibleState(life.life),
    ...("reason" in life.life && { reason: life.life.reason }),
    ...(pid !== undefined && { pid }),
    startedAt: life.startedAt,
    ageMs: Math.round(now - member.bornAt),
    turns: turns.times.count,
    ...(memoryBytes !== undefined && { memoryBytes }),
    ...(cpuSeconds !== undefined && { cpuSeconds }),
    ...(openFiles !== undefined && { openFiles }),
  };
};
