import { z } from "zod";
import { withDeadline } from "../kernel/deadline.ts";
import { SquadronError } from "../kernel/errors.ts";
import { authenticate, requireAdmin } from "./caller.ts";
import type { HttpApp, HttpContext } from "./context.ts";
import { failures } from "./schemas.ts";

const pingWithinMs = 2_000;
const tags = ["operations"];
const status = z.object({ status: z.literal("ok") });

/** For orchestrators and scrapers. None needs a key, but for the metrics of a node that others can reach. */
export const operationsRoutes = (
  app: HttpApp,
  context: HttpContext,
  options: { readonly metricsNeedKey: boolean },
): void => {
  const { store, metrics, clock, gateway, fleet } = context;

  app.get(
    "/healthz",
    {
      schema: {
        operationId: "health",
        summary: "Does the process answer?",
        tags,
        security: [],
        response: { 200: status, ...failures },
      },
    },
    async () => ({ status: "ok" as const }),
  );

  app.get(
    "/readyz",
    {
      schema: {
        operationId: "ready",
        summary: "Can the node serve: is the store there, is it not closing?",
        tags,
        security: [],
        response: { 200: status, ...failures },
      },
    },
    async () => {
      context.closing.throwIfAborted();
      if (gateway.draining)
        throw new SquadronError("draining", "The node finishes its running turns and takes no new ones.");
      const { condition } = fleet;
      if (condition.kind === "failing")
        throw new SquadronError("runtime_start_failed", condition.reason, {
          details: { retryAfter: Math.max(1, Math.ceil((condition.retryAt - clock.monotonic()) / 1_000)) },
        });
      try {
        await withDeadline(store.ping(), {
          clock,
          ms: pingWithinMs,
          what: "The store's answer",
          signal: context.closing,
        });
      } catch (cause) {
        throw new SquadronError("store_unavailable", "The store cannot be written now.", { cause });
      }
      return { status: "ok" as const };
    },
  );

  app.get(
    "/metrics",
    {
      schema: {
        operationId: "metrics",
        summary: "Figures for Prometheus",
        description:
          "Needs an admin's key, unless the node listens on a loopback address: then whoever reaches it is on this host. A proxy on this host in front of the node should not pass this path on.",
        tags,
        response: {
          200: { description: "Exposition text", content: { "text/plain": { schema: z.string() } } },
          ...failures,
        },
      },
    },
    async (request, reply) => {
      if (options.metricsNeedKey) requireAdmin((await authenticate(context, request)).principal);
      return reply.header("content-type", metrics.contentType).send(await metrics.text());
    },
  );
};
