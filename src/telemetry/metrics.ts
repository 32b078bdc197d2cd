import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "@prometheus-io/client";
import type { Isolation } from "../kernel/isolation.ts";

export type TurnOutcome = "completed" | "failed" | "interrupted" | "aborted";
export type ModelCallOutcome = "completed" | "failed" | "denied" | "aborted" | "timeout";
export type CallbackOutcome = "answered" | "failed" | "timeout" | "unhandled";
export type SessionState = "live" | "hibernated";
export type RuntimeState = "starting" | "spare" | "ready" | "retiring" | "stopping";
/** Why a runtime that had a unit was replaced: worn out, left a probe unanswered, or ended by itself. */
export type RecycleReason =
  | "turns"
  | "memory"
  | "memory_budget"
  | "age"
  | "open_files"
  | "slow"
  | "requested"
  | "unresponsive"
  | "crashed";

export interface SessionCount {
  readonly state: SessionState;
  readonly isolation: Isolation;
  readonly count: number;
}

/** What there was no room for: another live session, one more of the tenant, another runtime. */
export type EvictionReason = "sessions" | "tenant" | "runtimes";

/** The node's figures for Prometheus. All durations are seconds. No label ever names a user or a session. */
export interface Metrics {
  /** Asked at every scrape; counts of the same state and isolation are added. */
  observeSessions(count: () => Promise<Iterable<SessionCount>>): void;
  /** Asked at every scrape; must be quick. */
  observeRuntimes(count: () => Readonly<Record<RuntimeState, number>>): void;
  /** A turn left the queue after waiting so long. */
  turnStarted(waitedSeconds: number): void;
  turnEnded(outcome: TurnOutcome, seconds: number): void;
  /** Time from a turn's start to the first text of its answer. */
  firstToken(seconds: number): void;
  runtimeStarted(seconds: number): void;
  runtimeRecycled(reason: RecycleReason): void;
  sessionResumed(seconds: number): void;
  /** `method`: one of the method table, or `unknown`; never a client's own text. */
  frameDenied(method: string): void;
  /** `route`: the route's pattern, never the path of a request. */
  httpRequest(request: { method: string; route: string; status: number; seconds: number }): void;
  modelCall(outcome: ModelCallOutcome): void;
  callback(outcome: CallbackOutcome): void;
  /** A session was sent to sleep, or a runtime ended, to make room. */
  evicted(reason: EvictionReason): void;
  /** This node has lost a session or a unit that it held. */
  leaseLost(): void;
  /** What another node has taken over could not be written. */
  writeFenced(): void;
  /** The exposition text; `contentType` goes with it. */
  text(): Promise<string>;
  readonly contentType: string;
}

const turnBuckets = [0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];
const shortBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20];

/** A registry of its own; nothing is shared between two of them but the process defaults' source. */
export const createMetrics = (): Metrics => {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });

  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
    new Counter<L>({ name: `squadron_${name}`, help, labelNames, registers });
  const histogram = <L extends string>(
    name: string,
    help: string,
    buckets: number[],
    labelNames: readonly L[] = [],
  ) => new Histogram<L>({ name: `squadron_${name}`, help, buckets, labelNames, registers });

  let sessions: () => Promise<Iterable<SessionCount>> = async () => [];
  let runtimes: (() => Readonly<Record<RuntimeState, number>>) | undefined;
  new Gauge<"state" | "isolation">({
    name: "squadron_sessions",
    help: "Sessions by state and isolation.",
    labelNames: ["state", "isolation"],
    registers,
    async collect() {
      const counted = await sessions();
      this.reset();
      for (const { state, isolation, count } of counted) this.inc({ state, isolation }, count);
    },
  });
  new Gauge<"state">({
    name: "squadron_runtimes",
    help: "Runtime processes by state.",
    labelNames: ["state"],
    registers,
    collect() {
      if (!runtimes) return;
      for (const [state, count] of Object.entries(runtimes())) this.set({ state }, count);
    },
  });

  const leasesLost = counter("lease_lost_total", "Sessions or units that the node held and has lost.", []);
  const fencedWrites = counter(
    "fenced_writes_total",
    "Writes refused because another node holds the session.",
    [],
  );
  const turns = counter("turns_total", "Turns that have ended, by outcome.", ["outcome"]);
  const denied = counter("frames_denied_total", "Frames that the method policy refused.", ["method"]);
  const modelCalls = counter("model_calls_total", "Model calls of the runtimes, by outcome.", ["outcome"]);
  const callbacks = counter("callbacks_total", "Callbacks to clients, by outcome.", ["outcome"]);
  const evictions = counter(
    "evictions_total",
    "Sessions sent to sleep, or runtimes ended, to make room: for live sessions, those of one tenant, or runtimes.",
    ["reason"],
  );
  const recycles = counter(
    "runtime_recycles_total",
    "Runtimes of a unit that have ended and were to be replaced, by reason.",
    ["reason"],
  );
  const turnDuration = histogram(
    "turn_duration_seconds",
    "Time of a turn, from its start to its end.",
    turnBuckets,
  );
  const queueWait = histogram(
    "turn_queue_wait_seconds",
    "Time that a turn waited for its start.",
    turnBuckets,
  );
  const firstToken = histogram(
    "time_to_first_token_seconds",
    "Time from a turn's start to the first text of its answer.",
    turnBuckets,
  );
  const runtimeStart = histogram(
    "runtime_start_seconds",
    "Time from a runtime's spawn until it was ready.",
    shortBuckets,
  );
  const resume = histogram("session_resume_seconds", "Time of waking a session.", shortBuckets);
  const http = histogram("http_request_duration_seconds", "Time of an HTTP request.", shortBuckets, [
    "method",
    "route",
    "status",
  ]);

  return {
    observeSessions: (count) => {
      sessions = count;
    },
    observeRuntimes: (count) => {
      runtimes = count;
    },
    turnStarted: (seconds) => queueWait.observe(seconds),
    turnEnded: (outcome, seconds) => {
      turns.inc({ outcome });
      turnDuration.observe(seconds);
    },
    firstToken: (seconds) => firstToken.observe(seconds),
    runtimeStarted: (seconds) => runtimeStart.observe(seconds),
    runtimeRecycled: (reason) => recycles.inc({ reason }),
    sessionResumed: (seconds) => resume.observe(seconds),
    frameDenied: (method) => denied.inc({ method }),
    httpRequest: ({ method, route, status, seconds }) => http.observe({ method, route, status }, seconds),
    modelCall: (outcome) => modelCalls.inc({ outcome }),
    evicted: (reason) => evictions.inc({ reason }),
    callback: (outcome) => callbacks.inc({ outcome }),
    leaseLost: () => leasesLost.inc(),
    writeFenced: () => fencedWrites.inc(),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
};
