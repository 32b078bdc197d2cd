import type { RuntimesConfig } from "../config/config.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Unit } from "../kernel/isolation.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { BackOff } from "./back-off.ts";
import { createBreaker, type FleetCondition } from "./circuit.ts";
import type { RetireReason } from "./life.ts";
import { isEnding, type Member, newMember, type RuntimeStatus, statusOf, visibleState } from "./member.ts";
import { startProbing } from "./probe.ts";
import { figuresOf } from "./process-table.ts";
import { type Runtime, type RuntimeLife, type RuntimeSettings, startRuntime } from "./runtime.ts";
import { createSpares } from "./spares.ts";
import { createWear } from "./wear.ts";

/** All processes of the node, and which of them is whose. */
export interface Pool {
  /** The runtime that the unit has or is about to get. */
  present(unitKey: string): Promise<Runtime | undefined> | undefined;
  /**
   * Gives the unit, which has none, a runtime: a spare or a new one. Resolves with undefined if it was a spare that
   * had died. Throws `no_capacity`, or `runtime_start_failed` if none may be started now.
   */
  provide(unit: Unit): Promise<Runtime | undefined>;
  /** The unit's runtime that takes new sessions, if it is ready. */
  find(unitKey: string): Runtime | undefined;
  /** All that have sessions or may get some: ready ones and retiring ones. */
  runtimes(): readonly Runtime[];
  /** Units that have a runtime or are about to, retiring ones not counted: what `runtimes.max` bounds. */
  boundUnits(): readonly string[];
  /** Could the unit have a runtime without exceeding `runtimes.max`? */
  hasRoomFor(unit: Unit): boolean;
  /**
   * The runtime takes no new sessions: the unit's next `runtimeFor` gets another one. It runs on until it is killed.
   * False, and nothing is changed, if it is not ready or the unit has a retiring one already. Without a reason it is
   * the one for which it is worn out.
   */
  retire(runtime: Runtime, reason?: RetireReason): boolean;
  /** A turn begins in this runtime; what is returned is to be called once, when it has ended. */
  turnBegan(runtime: Runtime): () => void;
  readonly condition: FleetCondition;
  /** All processes with their figures. */
  list(): RuntimeStatus[];
  /** Kills the unit's runtimes. */
  release(unitKey: string): Promise<void>;
  /** Kills all and waits until they and their directories are gone; nothing is started any more. */
  close(): Promise<void>;
}

export const createPool = (options: {
  readonly config: RuntimesConfig;
  readonly settings: RuntimeSettings;
  readonly backOff: BackOff;
  readonly metrics: Metrics;
  readonly onWorn: (runtime: Runtime, reason: RetireReason) => void;
}): Pool => {
  const { config, settings, backOff, metrics } = options;
  const { clock, log } = settings;
  const members = new Map<RuntimeLife, Member>();
  const current = new Map<string, Member>();
  /** Of all whose directories have not been removed yet. */
  const clearing = new Set<Promise<void>>();
  const breaker = createBreaker({ clock, log });
  let closing = false;

  const boundUnits = (): readonly string[] => [
    ...new Set(
      [...members.values()].flatMap(({ life, retired }) => (retired || !life.unit ? [] : [life.unit.key])),
    ),
  ];

  const hasRoomFor = ({ key }: Unit): boolean => {
    const bound = boundUnits();
    return bound.includes(key) || bound.length < config.max;
  };

  const memberOf = (runtime: Runtime): Member | undefined =>
    [...members.values()].find(({ life }) => life.id === runtime.id);

  const start = (kind: "cold" | "warm"): Member => {
    const at = clock.monotonic();
    if (closing) throw new SquadronError("draining", "This node is shutting down.");
    breaker.begin();
    const life = startRuntime(settings, kind);
    const member = newMember(life, at);
    members.set(life, member);
    life.answered.then(
      () => {
        breaker.succeeded();
        metrics.runtimeStarted((clock.monotonic() - at) / 1000);
        watch(member);
      },
      (error) => {
        breaker.failed(error);
        spares.adjust();
      },
    );
    life.gone.then(() => ended(member));
    clearing.add(life.cleared);
    life.cleared.then(() => clearing.delete(life.cleared));
    return member;
  };

  const ended = (member: Member): void => {
    const { life, worn, readyAt } = member;
    members.delete(life);
    member.endProbing();
    if (life.unit !== undefined && current.get(life.unit.key) === member) current.delete(life.unit.key);
    const reason = life.life.state === "gone" ? life.life.reason : "by_itself";
    if (life.unit !== undefined && readyAt !== undefined) {
      if (reason === "by_itself" || reason === "unresponsive") {
        backOff.died(life.unit.key, clock.monotonic() - readyAt);
        metrics.runtimeRecycled(reason === "by_itself" ? "crashed" : reason);
      } else if (worn !== undefined && reason === "released") metrics.runtimeRecycled(worn);
    }
    spares.adjust();
  };

  /** Probes a process from its first answer to its end. */
  const watch = (member: Member): void => {
    const { life } = member;
    if (life.peer === undefined) return;
    member.endProbing = startProbing({
      peer: life.peer,
      clock,
      everyMs: config.probeEveryMs,
      onAnswer: async () => {
        if (life.pid !== undefined) member.figures = await figuresOf(life.pid);
        if (isEnding(life)) return;
        wear.judge(member, clock.monotonic());
        // There may be more or less memory for spares than before.
        spares.adjust();
      },
      onSilence: () => {
        log.error({ runtime: life.id }, "a runtime left a probe unanswered: it is killed");
        stop(life, "unresponsive");
      },
    });
  };

  const stop = (life: RuntimeLife, reason: "unresponsive" | "surplus"): void => {
    life.stop(reason).catch(stopFailed);
  };

  const stopFailed = (error: unknown): void => log.error({ error }, "a runtime could not be ended");

  const wantedSpares = (): number => {
    // While no start succeeds, a spare is what tries it: nobody may be asking for a runtime.
    const least = breaker.condition.kind === "ok" ? 0 : 1;
    const affordable = Math.min(wear.roomForSpares, config.max - boundUnits().length);
    return Math.max(least, Math.min(config.spares, affordable));
  };

  const hasRetiring = (unitKey: string): boolean =>
    [...members.values()].some(({ life, retired }) => retired && life.unit?.key === unitKey);

  const wear = createWear({
    config,
    members: () => members.values(),
    hasRetiring,
    onWorn: options.onWorn,
    endSpare: ({ life }) => stop(life, "surplus"),
    log,
  });

  const spares = createSpares({
    clock,
    wanted: wantedSpares,
    start: () => start("warm").life,
    onStopFailure: stopFailed,
  });

  const provide = (unit: Unit): Promise<Runtime | undefined> => {
    if (!hasRoomFor(unit)) {
      throw new SquadronError(
        "no_capacity",
        `All ${config.max} runtimes of this node are in use; try again later.`,
        { details: { limit: "runtimes.max", value: config.max } },
      );
    }
    const taken = spares.take();
    const wasReady = taken?.life.state === "spare";
    const member = (taken && members.get(taken)) ?? start("cold");
    current.set(unit.key, member);
    member.ready = bind(member, unit, wasReady);
    // Nobody may be waiting any more; the failure has been logged.
    member.ready.catch(() => undefined);
    spares.adjust();
    return member.ready;
  };

  const bind = async (member: Member, unit: Unit, wasReady: boolean): Promise<Runtime | undefined> => {
    const { life } = member;
    try {
      const runtime = await life.bind(unit);
      member.readyAt = clock.monotonic();
      return runtime;
    } catch (error) {
      const reason = "reason" in life.life ? life.life.reason : undefined;
      const byItself = reason === "by_itself" || reason === "unresponsive";
      const wasStopped = error instanceof SquadronError && error.code === "runtime_gone" && !byItself;
      if (!wasStopped) backOff.failed(unit.key);
      if (wasReady && byItself) return undefined;
      throw error;
    }
  };

  const release = async (unitKey: string): Promise<void> => {
    const all = [...members.keys()].filter(({ unit }) => unit?.key === unitKey);
    await Promise.all(all.map((life) => life.stop("released")));
  };

  metrics.observeRuntimes(() => {
    const counts = { starting: 0, spare: 0, ready: 0, retiring: 0, stopping: 0 };
    for (const { life } of members.values()) counts[visibleState(life.life)]++;
    return counts;
  });
  spares.adjust();

  return {
    present: (unitKey) => {
      const member = current.get(unitKey);
      return member === undefined || isEnding(member.life) ? undefined : member.ready;
    },
    provide,
    find: (unitKey) => current.get(unitKey)?.life.runtime,
    runtimes: () => [...members.keys()].flatMap(({ runtime }) => runtime ?? []),
    boundUnits,
    hasRoomFor,
    retire(runtime, given) {
      const member = memberOf(runtime);
      if (member?.life.life.state !== "ready" || hasRetiring(runtime.unit.key)) return false;
      const reason = given ?? member.worn ?? "requested";
      member.worn ??= reason;
      member.retired = true;
      member.life.retire(reason);
      if (current.get(runtime.unit.key) === member) current.delete(runtime.unit.key);
      log.info({ runtime: runtime.id, unit: runtime.unit.key, reason }, "a runtime takes no new sessions");
      spares.adjust();
      return true;
    },
    turnBegan(runtime) {
      const member = memberOf(runtime);
      const beganAt = clock.monotonic();
      member?.turns.began();
      return () => {
        const now = clock.monotonic();
        member?.turns.ended(now - beganAt, now - member.bornAt);
      };
    },
    get condition() {
      return breaker.condition;
    },
    list: () => [...members.values()].map((member) => statusOf(member, clock.monotonic())),
    release,
    close: async () => {
      closing = true;
      spares.close();
      await Promise.all([...members.keys()].map((life) => life.stop("closing").catch(stopFailed)));
      await Promise.all(clearing);
    },
  };
};
