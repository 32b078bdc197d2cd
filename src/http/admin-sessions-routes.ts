import { z } from "zod";
import { durationForm } from "../kernel/units.ts";
import { scopeOf } from "./admin-routes.ts";
import { callerOf } from "./caller.ts";
import type { HttpApp, HttpContext } from "./context.ts";
import { durationMs, failures, time } from "./schemas.ts";

const tags = ["admin"];
const tenant = z
  .string()
  .min(1)
  .max(200)
  .optional()
  .describe("Only this one; a tenant-admin sees no other anyway");

/** Each deletion is an entry of the audit trail, which takes only so many at once. */
const maxPruned = 500;

const prunedSession = z.object({
  id: z.string(),
  tenant: z.string(),
  owner: z.string(),
  lastUsedAt: time,
  sizeBytes: z.int(),
});

/** Cleaning up and space, for operators and, within their tenant, for those with the role tenant-admin. */
export const adminSessionsRoutes = (app: HttpApp, { store, gateway, janitor }: HttpContext): void => {
  app.post(
    "/v1/admin/sessions/prune",
    {
      schema: {
        operationId: "pruneSessions",
        summary: "Delete sessions that nobody has used for long, or say which (admin, tenant-admin)",
        description:
          "Those that are past their time to live, longest unused first; with `unusedFor`, that instead of the tenants' times. A session's own time counts in any case, and none that is in use is deleted.",
        tags,
        body: z.strictObject({
          dryRun: z.boolean().default(false).describe("Only say which"),
          tenant,
          unusedFor: z
            .union([z.string().max(30), z.int()])
            .refine((given) => (durationMs(given) ?? -1) >= 0, `It must be ${durationForm}.`)
            .optional()
            .describe(`${durationForm}, or milliseconds`),
          limit: z.int().min(1).max(maxPruned).default(100),
        }),
        response: {
          200: z.object({
            sessions: z.array(prunedSession).describe("What is gone, or would go"),
            inUse: z.int().describe("Past their time but in use, so not deleted"),
            failed: z.int().describe("Could not be deleted; the node's log has the reasons"),
            more: z.boolean().describe("There were more than the limit"),
          }),
          ...failures,
        },
      },
    },
    async (request) => {
      const { dryRun, tenant, unusedFor, limit } = request.body;
      const unusedForMs = unusedFor === undefined ? undefined : durationMs(unusedFor);
      const scope = scopeOf(request, tenant);
      const { sessions, ...counts } = await janitor.prune({
        dryRun,
        limit,
        ...scope,
        ...(unusedForMs !== undefined && { unusedForMs }),
      });
      if (!dryRun)
        gateway.services.audit.record(callerOf(request).principal, {
          action: "sessions.prune",
          target: scope.tenant ?? "all tenants",
          outcome: "ok",
          detail: `${sessions.length} deleted`,
        });
      return {
        sessions: sessions.map((session) => ({
          id: session.publicId,
          tenant: session.tenant,
          owner: session.owner,
          lastUsedAt: new Date(session.lastUsedAt).toISOString(),
          sizeBytes: session.sizeBytes,
        })),
        ...counts,
      };
    },
  );

  app.get(
    "/v1/admin/usage",
    {
      schema: {
        operationId: "getUsage",
        summary: "Bytes that each tenant's files have in the store (admin, tenant-admin)",
        tags,
        querystring: z.strictObject({ tenant }),
        response: {
          200: z.object({
            tenants: z.array(
              z.object({
                tenant: z.string(),
                sessions: z.int().describe("How many, without one-shot ones"),
                sessionBytes: z.int().describe("Of their histories and files"),
                unitBytes: z.int().describe("Of settings and working directories that sessions share"),
              }),
            ),
          }),
          ...failures,
        },
      },
    },
    async (request) => {
      const { tenant } = scopeOf(request, request.query.tenant);
      const usage = (await store.state.usage()).filter(
        (one) => tenant === undefined || one.tenant === tenant,
      );
      return {
        tenants: await Promise.all(
          usage.map(async (one) => ({ ...one, sessions: await store.sessions.countOf(one.tenant) })),
        ),
      };
    },
  );
};
