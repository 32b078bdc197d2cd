import { writeFileSync } from "node:fs";
import { closingRound, collectEvidence } from "./evidence.ts";
import { findViolations, type Violation } from "./history-checker.ts";
import { type Attempt, type Call, tally } from "./journal.ts";
import { type Load, startLoad } from "./load.ts";
import { createRandom, type Random } from "./random.ts";
import { createWorld, type World, type WorldOptions } from "./world.ts";

export interface ScenarioOptions {
  readonly rounds: number;
  readonly seed: number;
  readonly clients: number;
  /** Told of each round, for people. */
  readonly say: (line: string) => void;
  /** Where the evidence is written as JSON, for the checker as a program. */
  readonly evidenceFile?: string;
}

export interface ScenarioResult {
  readonly violations: readonly Violation[];
  readonly outcomes: Readonly<Record<string, number>>;
  /** Longest time from a fault to the end of a call that it interrupted, in milliseconds. */
  readonly slowestMs: number;
  readonly faults: number;
  /** Errors of calls that set something up, and how often each came. */
  readonly setupErrors: Readonly<Record<string, number>>;
  readonly notes: readonly string[];
}

export type Scenario = (options: ScenarioOptions) => Promise<ScenarioResult>;

export interface Round {
  readonly world: World;
  readonly load: Load;
  readonly random: Random;
  readonly round: number;
  /** Writes down what is done to the node, at the moment at which it is done. */
  fault(what: string): void;
}

export interface FaultPlan {
  readonly world?: WorldOptions;
  /** So soon after a fault must what it concerns settle. */
  readonly settleMs: number;
  /** No call may take longer, also one that meets several faults one after the other; 20 s unless told. */
  readonly hangMs?: number;
  round(round: Round): Promise<void>;
  /** Is this the way in which a message may end here? `ran`: the history has it. Everything is, unless told. */
  readonly expects?: (attempt: Attempt, ran: boolean) => boolean;
}

export const slowestOf = (attempts: readonly Attempt[], faults: readonly { readonly at: number }[]): number =>
  Math.max(
    0,
    ...attempts
      .filter(({ outcome }) => outcome.kind === "interrupted")
      .map(({ sentAt, settledAt }) => {
        const before = faults.findLast(({ at }) => at <= settledAt);
        return before === undefined ? 0 : Math.round(settledAt - Math.max(before.at, sentAt));
      }),
  );

/** How often setting something up failed, and how. */
export const setupErrorsOf = (calls: readonly Call[]): Readonly<Record<string, number>> => {
  const counts: Record<string, number> = {};
  for (const { outcome } of calls) {
    if (outcome === "ok") continue;
    const name = outcome === "hung" ? "hung" : outcome.error;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
};

/** What is wrong with a message that ended as none may here. */
export const unexpected = ({ session, marker, outcome }: Attempt): Violation => ({
  kind: "unexpected_error",
  session,
  marker,
  detail: JSON.stringify(outcome),
});

/** Load, faults in rounds, quiet, one more message into every session, and the checker's judgement. */
export const runFaults = async (
  { rounds, seed, clients, say, evidenceFile }: ScenarioOptions,
  plan: FaultPlan,
): Promise<ScenarioResult> => {
  await using world = await createWorld(plan.world);
  const load = startLoad(world, {
    clients,
    seed,
    ...(plan.hangMs !== undefined && { hangMs: plan.hangMs }),
  });
  const { journal, sessions, hangMs } = load;
  const random = createRandom(seed);
  const fault = (what: string): void => {
    journal.faults.push({ at: world.now(), what });
  };
  try {
    await load.answered(clients);
    for (let round = 1; round <= rounds; round++) {
      await plan.round({ world, load, random, round, fault });
      say(`round ${round} of ${rounds}: ${JSON.stringify(tally(journal))}`);
    }
    await load.answered(clients);
  } catch (error) {
    say(`The node's log: ${world.node?.stderr.slice(-4_000) ?? "no node runs"}`);
    throw error;
  } finally {
    await load.stop();
  }
  const during = [...journal.attempts];
  const dead = await closingRound({ world, journal, sessions, hangMs });
  const { evidence, unreadable } = await collectEvidence({
    world,
    journal,
    sessions,
    settleMs: plan.settleMs,
  });
  if (evidenceFile !== undefined) writeFileSync(evidenceFile, JSON.stringify(evidence));
  const said = new Map(evidence.sessions.map((facts) => [facts.session, facts.said]));
  const ran = ({ session, marker }: Attempt): boolean =>
    said.get(session)?.some(({ role, content }) => role === "user" && content.startsWith(`${marker} `)) ===
    true;
  const others = during.filter((attempt) => plan.expects?.(attempt, ran(attempt)) === false).map(unexpected);
  return {
    violations: [...findViolations(evidence), ...dead, ...unreadable, ...others],
    outcomes: tally(journal),
    slowestMs: slowestOf(during, journal.faults),
    faults: journal.faults.length,
    setupErrors: setupErrorsOf(journal.calls),
    notes: [
      ...new Set(
        journal.attempts.flatMap(({ outcome }) =>
          outcome.kind === "failed" ? [`${outcome.code}: ${outcome.message}`] : [],
        ),
      ),
    ],
  };
};
