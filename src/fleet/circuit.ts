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
