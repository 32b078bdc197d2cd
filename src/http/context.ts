import type { IncomingMessage, ServerResponse } from "node:http";
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { Fleet } from "../fleet/fleet.ts";
import type { Gateway } from "../gateway/gateway.ts";
import type { Identity } from "../identity/identity.ts";
import type { Clock } from "../kernel/clock.ts";
import type { Janitor } from "../sessions/janitor.ts";
import type { Store } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";

/** What the routes are made of. */
export interface HttpContext {
  readonly gateway: Gateway;
  readonly identity: Identity;
  readonly store: Store;
  readonly fleet: Pick<Fleet, "list" | "condition">;
  readonly janitor: Pick<Janitor, "prune">;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Log;
  /** Begins to drain the node, which closes after it. */
  readonly drain: () => void;
  readonly drainTimeoutMs: number;
  /** How long a request's key is remembered. */
  readonly idempotencyTtlMs: number;
  /** Aborts, with `draining` as its reason, when the server closes. */
  readonly closing: AbortSignal;
  /** Work that outlives its response and must end before the server has closed. */
  readonly working: Set<Promise<unknown>>;
}

export type HttpApp = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;
