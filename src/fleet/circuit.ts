import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Log } from "../telemetry/log.ts";

/** So many starts in a row must fail; then none is tried for a while, which grows with each trial that fails too. */
const afterFailures = 5;
const pause = { firstMs: 1_000, longestMs: 30_000 };

/** May the node start runtimes? Times are monotonic milliseconds. half_open: one trial runs, which decides. */
export type Circuit =
  | { readonly kind: "closed"; readonly failures: number }
  | {
      readonly kind: "open" | "half_open";
      readonly since: number;
      readonly reason: string;
      readonly pauseMs: number;
      readonly retryAt: number;
    };

export type CircuitEvent =
  | { readonly kind: "begun"; readonly at: number }
  | { readonly kind: "succeeded" }
  | { readonly kind: "failed"; readonly at: number; readonly reason: string }
  /** The start was given up before it had succeeded or failed. */
  | { readonly kind: "abandoned" };

export const closedCircuit: Circuit = { kind: "closed", failures: 0 };

/** The one transition function. */
export const nextCircuit = (circuit: Circuit, event: CircuitEvent): Circuit => {
  switch (event.kind) {
    case "begun":
      return circuit.kind === "open" && event.at >= circuit.retryAt
        ? { ...circuit, kind: "half_open" }
        : circuit;
    case "succeeded":
      return closedCircuit;
    case "abandoned":
      return circuit.kind === "half_open" ? { ...circuit, kind: "open" } : circuit;
    case "failed": {
      const { at, reason } = event;
      if (circuit.kind === "closed") {
        const failures = circuit.failures + 1;
        if (failures < afterFailures) return { kind: "closed", failures };
        return { kind: "open", since: at, reason, pauseMs: pause.firstMs, retryAt: at + pause.firstMs };
      }
      // One that had begun before it opened tells nothing new.
      if (circuit.kind === "open") return circuit;
      const pauseMs = Math.min(circuit.pauseMs * 2, pause.longestMs);
      return { ...circuit, kind: "open", reason, pauseMs, retryAt: at + pauseMs };
    }
  }
};

/** May a start begin now? */
export const admitsStart = (circuit: Circuit, at: number): boolean =>
  circuit.kind === "closed" || (circuit.kind === "open" && at >= circuit.retryAt);

/** Can the node start runtimes? */
export type FleetCondition =
  | { readonly kind: "ok" }
  | {
      readonly kind: "failing";
      /** Milliseconds since 1970. */
      readonly since: number;
      /** For people, without paths or secrets. */
      readonly reason: string;
      /** Monotonic: before that no start is tried. */
      readonly retryAt: number;
    };

/** Lets no more starts begin when they all fail, for whatever unit, and tries again by and by. */
export interface Breaker {
  /** A start is about to begin. Throws `runtime_start_failed` if none may now. */
  begin(): void;
  succeeded(): void;
  /** A start has failed with this error; `runtime_gone` says that it was given up. */
  failed(error: unknown): void;
  readonly condition: FleetCondition;
}

export const createBreaker = ({ clock, log }: { readonly clock: Clock; readonly log: Log }): Breaker => {
  let circuit: Circuit = closedCircuit;
  const happen = (event: CircuitEvent): void => {
    const before = circuit;
    circuit = nextCircuit(circuit, event);
    if (circuit.kind === "open" && before.kind === "closed")
      log.error({ reason: circuit.reason }, "every start of a runtime fails: none is tried for a moment");
    if (circuit.kind === "closed" && before.kind !== "closed") log.info({}, "runtimes can be started again");
  };
  return {
    begin() {
      const at = clock.monotonic();
      if (circuit.kind !== "closed" && !admitsStart(circuit, at)) {
        throw new SquadronError(
          "runtime_start_failed",
          "No runtime can be started; the node tries again in a moment, and its log has the reason.",
          { details: { retryAfter: Math.max(1, Math.ceil((circuit.retryAt - at) / 1000)) } },
        );
      }
      happen({ kind: "begun", at });
    },
    succeeded: () => happen({ kind: "succeeded" }),
    failed(error) {
      const givenUp = error instanceof SquadronError && error.code === "runtime_gone";
      happen(
        givenUp ? { kind: "abandoned" } : { kind: "failed", at: clock.monotonic(), reason: reasonOf(error) },
      );
    },
    get condition(): FleetCondition {
      if (circuit.kind === "closed") return { kind: "ok" };
      const { since, reason, retryAt } = circuit;
      return { kind: "failing", since: clock.now() - (clock.monotonic() - since), reason, retryAt };
    },
  };
};

/** For people who may not see the log: what failed, without paths. */
const reasonOf = (error: unknown): string => {
  const cause = error instanceof SquadronError && error.cause !== undefined ? error.cause : error;
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
  return `The last starts of a runtime all failed: ${cause instanceof SquadronError ? cause.message : code}`;
};
