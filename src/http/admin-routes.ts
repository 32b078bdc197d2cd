import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { createKey } from "../identity/keys.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { KeyRow } from "../store/store.ts";
import { administeredTenant, callerOf, requireAdmin } from "./caller.ts";
import type { HttpApp, HttpContext } from "./context.ts";
import { describeAdministered } from "./found-session.ts";
import { administeredSession, cursor, failures, limit, time } from "./schemas.ts";

const tags = ["admin"];
const role = z.enum(["user", "tenant-admin", "admin"]);
const isolation = z.enum(["session", "user", "tenant", "shared"]);
const principalName = z.string().min(1).max(200);
const tenant = principalName.optional().describe("Only this one; a tenant-admin sees no other anyway");

const runtime = z
  .object({
    id: z.string(),
    isolation: isolation.optional().describe("Absent for a spare"),
    unitKey: z.string().optional(),
    state: z.enum(["starting", "spare", "ready", "retiring", "stopping"]),
    reason: z.string().optional().describe("Why it is retiring or stopping"),
    pid: z.int().optional(),
    startedAt: time,
    ageMs: z.int(),
    turns: z.int(),
    memoryBytes: z.number().optional().describe("Proportional memory (PSS) at the last probe"),
    cpuSeconds: z.number().optional(),
    openFiles: z.int().optional(),
  })
  .meta({ id: "Runtime" });
const shownKey = z.object({
  id: z.string(),
  tenant: z.string(),
  user: z.string(),
  roles: z.array(role),
  label: z.string(),
  createdAt: time,
  lastUsedAt: time.nullable(),
  revokedAt: time.nullable(),
});
const key = shownKey.meta({ id: "Key" });
const newKey = shownKey
  .extend({ key: z.string().describe("The key itself, shown this once") })
  .meta({ id: "NewKey" });
const auditEntry = z
  .object({
    id: z.int(),
    at: time,
    tenant: z.string(),
    user: z.string(),
    action: z.string(),
    target: z.string(),
    outcome: z.string(),
    detail: z.string().nullable(),
  })
  .meta({ id: "AuditEntry" });

const isoTime = (ms: number): string => new Date(ms).toISOString();
const maybeTime = (ms: number | null): string | null => (ms === null ? null : isoTime(ms));

const describeKey = ({ id, tenant, user, roles, label, createdAt, lastUsedAt, revokedAt }: KeyRow) => ({
  id,
  tenant,
  user,
  roles: [...roles],
  label,
  createdAt: isoTime(createdAt),
  lastUsedAt: maybeTime(lastUsedAt),
  revokedAt: maybeTime(revokedAt),
});

/** The tenants that a request is about. Throws `forbidden` for one that its sender does not administer. */
export const scopeOf = (request: FastifyRequest, asked: string | undefined): { readonly tenant?: string } => {
  const own = administeredTenant(callerOf(request).principal);
  if (own !== undefined && asked !== undefined && asked !== own) {
    throw new SquadronError("forbidden", "This key administers its own tenant only.");
  }
  const tenant = own ?? asked;
  return tenant === undefined ? {} : { tenant };
};

/** For operators (role admin) and, within their tenant, for those with the role tenant-admin. */
export const adminRoutes = (app: HttpApp, context: HttpContext): void => {
  const { store, fleet, gateway, clock } = context;
  const audit = (request: FastifyRequest, action: string, target: string): void =>
    gateway.services.audit.record(callerOf(request).principal, { action, target, outcome: "ok" });

  app.get(
    "/v1/admin/runtimes",
    {
      schema: {
        operationId: "listRuntimes",
        summary: "The runtime processes of this node (admin)",
        tags,
        response: { 200: z.object({ runtimes: z.array(runtime) }), ...failures },
      },
    },
    async (request) => {
      requireAdmin(callerOf(request).principal);
      return {
        runtimes: fleet.list().map((status) => ({ ...status, startedAt: isoTime(status.startedAt) })),
      };
    },
  );

  app.post(
    "/v1/admin/drain",
    {
      schema: {
        operationId: "drain",
        summary: "End the node: nothing new, running turns to their end, then it closes (admin)",
        tags,
        response: { 202: z.object({ runningTurns: z.int(), withinMs: z.int() }), ...failures },
      },
    },
    async (request, reply) => {
      requireAdmin(callerOf(request).principal);
      audit(request, "node.drain", "node");
      const runningTurns = gateway.hosts.filter(({ busy }) => busy).length;
      context.drain();
      return reply.code(202).send({ runningTurns, withinMs: context.drainTimeoutMs });
    },
  );

  app.get(
    "/v1/admin/sessions",
    {
      schema: {
        operationId: "listAllSessions",
        summary: "Everybody's sessions, without their content (admin, tenant-admin)",
        tags,
        querystring: z.strictObject({ cursor: cursor.optional(), limit: limit(200), tenant }),
        response: {
          200: z.object({ sessions: z.array(administeredSession), next: z.string().optional() }),
          ...failures,
        },
      },
    },
    async (request) => {
      const { cursor, limit, tenant } = request.query;
      await gateway.services.useLedger.flush();
      const page = await store.sessions.listAll({
        limit,
        ...(cursor !== undefined && { cursor }),
        ...scopeOf(request, tenant),
      });
      return {
        sessions: page.sessions.map((row) => describeAdministered(context, row)),
        ...(page.next !== undefined && { next: page.next }),
      };
    },
  );

  app.get(
    "/v1/admin/keys",
    {
      schema: {
        operationId: "listKeys",
        summary:
          "Stored keys, the newest first; those of the configuration are not among them (admin, tenant-admin)",
        tags,
        querystring: z.strictObject({ limit: limit(1000), tenant }),
        response: { 200: z.object({ keys: z.array(key) }), ...failures },
      },
    },
    async (request) => {
      const { limit, tenant } = request.query;
      return { keys: (await store.keys.list({ limit, ...scopeOf(request, tenant) })).map(describeKey) };
    },
  );

  app.post(
    "/v1/admin/keys",
    {
      schema: {
        operationId: "createKey",
        summary: "Create a key (admin, tenant-admin)",
        tags,
        body: z.strictObject({
          tenant: principalName.optional().describe("Your own if absent"),
          user: principalName,
          roles: z.array(role).min(1).default(["user"]),
          label: z.string().max(200).default(""),
        }),
        response: { 201: newKey, ...failures },
      },
    },
    async (request, reply) => {
      const { principal } = callerOf(request);
      const { user, roles, label, tenant: asked = principal.tenant } = request.body;
      const { tenant = asked } = scopeOf(request, asked);
      if (roles.includes("admin")) requireAdmin(principal);
      const made = await createKey(store, { tenant, user, roles, label }, clock);
      audit(request, "key.create", made.row.id);
      return reply.code(201).send({ ...describeKey(made.row), key: made.key.reveal() });
    },
  );

  app.delete(
    "/v1/admin/keys/:id",
    {
      schema: {
        operationId: "revokeKey",
        summary:
          "Revoke a key; it is refused from that moment on, and its open connections end (admin, tenant-admin)",
        tags,
        params: z.object({ id: z.string().max(200) }),
        response: { 204: z.undefined().describe("Revoked"), ...failures },
      },
    },
    async (request, reply) => {
      const { tenant } = scopeOf(request, undefined);
      const row = await store.keys.byId(request.params.id);
      if (
        row === undefined ||
        (tenant !== undefined && row.tenant !== tenant) ||
        !(await store.keys.revoke(row.id))
      ) {
        throw new SquadronError("not_found", "There is no such key, or it is revoked already.");
      }
      gateway.disconnectKey(row.id);
      audit(request, "key.revoke", row.id);
      return reply.code(204).send();
    },
  );

  app.get(
    "/v1/admin/audit",
    {
      schema: {
        operationId: "listAudit",
        summary: "Who did what, the newest first (admin, tenant-admin)",
        tags,
        querystring: z.strictObject({
          before: z.coerce
            .number()
            .int()
            .min(1)
            .optional()
            .describe("`id` of the last entry of the page before"),
          limit: limit(1000),
          tenant,
        }),
        response: { 200: z.object({ entries: z.array(auditEntry) }), ...failures },
      },
    },
    async (request) => {
      const { before, limit, tenant } = request.query;
      const entries = await store.audit.list({
        limit,
        ...(before !== undefined && { before }),
        ...scopeOf(request, tenant),
      });
      return { entries: entries.map((entry) => ({ ...entry, at: isoTime(entry.at) })) };
    },
  );
};
