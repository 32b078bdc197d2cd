import type { RuntimesConfig } from "../config/config.ts";
import type { Log } from "../telemetry/log.ts";
import { overBudget, verdict } from "./health.ts";
import type { RetireReason } from "./life.ts";
import { factsOf, isEnding, type Member } from "./member.ts";
import type { Runtime } from "./runtime.ts";

/** Finds out which runtimes are to be replaced, and tells it as long as they are there. */
export interface Wear {
  /** To be called when there are new facts about a member. */
  judge(member: Member, now: number): void;
  /** How many spares the fleet's memory suffices for beside the runtimes of units. */
  readonly roomForSpares: number;
}

/** A spare has about 10 MiB; with less room than this for each they would come and go. */
const spareBytes = 16 * 1024 ** 2;

export const createWear = (options: {
  readonly config: Pick<RuntimesConfig, "recycle" | "memoryBytes">;
  readonly members: () => Iterable<Member>;
  readonly hasRetiring: (unitKey: string) => boolean;
  readonly onWorn: (runtime: Runtime, reason: RetireReason) => void;
  readonly endSpare: (spare: Member) => void;
  readonly log: Log;
}): Wear => {
  const { config, members, hasRetiring, log } = options;

  const shares = () =>
    [...members()]
      .filter(({ life }) => life.unit !== undefined)
      .map((member) => ({
        member,
        memoryBytes: member.figures.memoryBytes ?? 0,
        leaving: member.worn !== undefined || isEnding(member.life),
      }));

  const fattest = (): Member | undefined =>
    config.memoryBytes === undefined ? undefined : overBudget(shares(), config.memoryBytes)?.member;

  const tell = ({ life, worn }: Member): void => {
    if (worn === undefined || life.life.state !== "ready" || !life.runtime) return;
    if (hasRetiring(life.runtime.unit.key)) return;
    try {
      options.onWorn(life.runtime, worn);
    } catch (error) {
      log.error({ error, runtime: life.id }, "a runtime that is worn out could not be replaced");
    }
  };

  return {
    judge(member, now) {
      member.worn ??= verdict(factsOf(member, now), config.recycle);
      // One that nobody has needed for so long is no loss.
      if (member.worn !== undefined && member.life.life.state === "spare") options.endSpare(member);
      else tell(member);
      const fat = fattest();
      if (fat?.life.life.state !== "ready") return;
      fat.worn = "memory_budget";
      tell(fat);
    },
    get roomForSpares() {
      if (config.memoryBytes === undefined) return Number.POSITIVE_INFINITY;
      const used = shares().reduce((bytes, { memoryBytes }) => bytes + memoryBytes, 0);
      return Math.max(0, Math.floor((config.memoryBytes - used) / spareBytes));
    },
  };
};
