import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { SquadronError } from "../kernel/errors.ts";
import { newUuid } from "../kernel/ids.ts";
import type { OwnedSession } from "../store/store.ts";
import { callerOf } from "./caller.ts";
import { askOnce } from "./connection.ts";
import type { HttpApp, HttpContext } from "./context.ts";
import { createCall } from "./create-call.ts";
import { describeAll, describeOne, findSession, requirePart } from "./found-session.ts";
import { once, replayedHeader, requestKeyOf } from "./idempotency.ts";
import {
  cursor,
  durationMs,
  failures,
  idempotencyHeaders,
  limit,
  model,
  name,
  session,
  sessionParams,
  systemMessage,
  ttl,
  visibility,
} from "./schemas.ts";

/** A filtered list looks at so many pages of the store at most; the client goes on with `next`. */
const maxPages = 20;

const tags = ["sessions"];

/** The life of sessions. */
export const sessionsRoutes = (app: HttpApp, context: HttpContext): void => {
  const { store, gateway } = context;

  const named = async (request: FastifyRequest, name: string): Promise<OwnedSession | undefined> => {
    const { tenant, user } = callerOf(request).principal;
    return store.sessions.byName(tenant, user, name);
  };

  const ownedById = async (request: FastifyRequest, id: string): Promise<OwnedSession | undefined> => {
    const { tenant, user } = callerOf(request).principal;
    const publicId = (await store.sessions.byId(id))?.publicId;
    return publicId === undefined ? undefined : store.sessions.byPublicId(publicId, tenant, user);
  };

  const nameTaken = async (request: FastifyRequest, name: string): Promise<SquadronError> => {
    const existing = await named(request, name);
    return new SquadronError("name_taken", "You have a session of this name already.", {
      details: existing === undefined ? {} : { id: existing.publicId },
    });
  };

  const audit = (request: FastifyRequest, action: string, target: string): void =>
    gateway.services.audit.record(callerOf(request).principal, { action, target, outcome: "ok" });

  app.post(
    "/v1/sessions",
    {
      schema: {
        operationId: "createSession",
        summary: "Create a session",
        description:
          "A name that you use already is 409 `name_taken`, with the session's id in `details.id`.",
        tags,
        headers: idempotencyHeaders,
        body: z.strictObject({
          name: name.optional().describe("Your own name for it; a random one if absent"),
          visibility: visibility.optional(),
          senderNames: z
            .boolean()
            .optional()
            .describe(
              "The model is told who sends each message: its first line is `[user]`. False if absent; it stays as it is",
            ),
          model: model.optional(),
          systemMessage: systemMessage.optional(),
          ttl: ttl.optional(),
        }),
        response: { 201: session, ...failures },
      },
    },
    async (request, reply) => {
      const { name = newUuid(), visibility = "private", senderNames = false, ttl, ...asked } = request.body;
      const ttlMs = ttl === undefined ? undefined : durationMs(ttl);
      const key = requestKeyOf(context, request);
      const create = (): Promise<unknown> =>
        askOnce(context, request, reply, (connection) =>
          connection.create(createCall(name, asked), {
            ephemeral: false,
            visibility,
            senderNames,
            mustBeNew: true,
            key,
            ...(ttlMs !== undefined && { ttlMs }),
          }),
        );
      const row = await once(
        context,
        key,
        async () => {
          await create();
          return named(request, name);
        },
        async ({ sessionId }) => {
          reply.header(replayedHeader, "true");
          return ownedById(request, sessionId);
        },
      );
      if (row === undefined)
        throw new SquadronError("session_deleted", "The session was deleted while it was created.");
      audit(request, "session.create", row.publicId);
      return reply
        .code(201)
        .header("location", `/v1/sessions/${row.publicId}`)
        .send(await describeOne(context, row));
    },
  );

  app.get(
    "/v1/sessions",
    {
      schema: {
        operationId: "listSessions",
        summary: "List your sessions, the last used first",
        tags,
        querystring: z.strictObject({
          cursor: cursor.optional(),
          limit: limit(200),
          state: z.enum(["live", "hibernated"]).optional(),
        }),
        response: { 200: z.object({ sessions: z.array(session), next: z.string().optional() }), ...failures },
      },
    },
    async (request) => {
      const { tenant, user } = callerOf(request).principal;
      const { limit, state } = request.query;
      let next = request.query.cursor;
      const found: z.infer<typeof session>[] = [];
      for (let page = 0; page < maxPages && found.length < limit; page++) {
        await context.gateway.services.useLedger.flush();
        const rows = await store.sessions.list(tenant, user, {
          limit: limit - found.length,
          ...(next !== undefined && { cursor: next }),
        });
        for (const described of await describeAll(context, rows.sessions)) {
          if (state === undefined || described.state === state) found.push(described);
        }
        next = rows.next;
        if (next === undefined) break;
      }
      return { sessions: found, ...(next !== undefined && { next }) };
    },
  );

  app.get(
    "/v1/sessions/:id",
    {
      schema: {
        operationId: "getSession",
        summary: "One session",
        tags,
        params: sessionParams,
        response: { 200: session, ...failures },
      },
    },
    async (request) => {
      await context.gateway.services.useLedger.flush();
      return describeOne(context, await findSession(context, request, request.params.id));
    },
  );

  app.patch(
    "/v1/sessions/:id",
    {
      schema: {
        operationId: "changeSession",
        summary: "Change a session's name, title or time to live",
        description:
          "The name is your own; title and time are the same for all who take part: an owner gives the title, the founder the time.",
        tags,
        params: sessionParams,
        body: z
          .strictObject({
            name: name.optional(),
            title: z.string().min(1).max(500).optional(),
            ttl: ttl.nullable().optional().describe("null: as long as the tenant's sessions may"),
          })
          .refine(
            (given) => Object.values(given).some((value) => value !== undefined),
            "Give a name, a title or a ttl.",
          ),
        response: { 200: session, ...failures },
      },
    },
    async (request, reply) => {
      const { title, name, ttl } = request.body;
      const row = await findSession(context, request, request.params.id);
      if (title !== undefined) requirePart(context, request, row, "owner", "another title");
      if (ttl !== undefined) requirePart(context, request, row, "founder", "another time to live");
      if (title !== undefined) {
        await askOnce(context, request, reply, async (connection) => {
          await connection.watch(row.name);
          await connection.request("session.name.set", { sessionId: row.name, name: title });
        });
        await store.sessions.update(row.id, { title });
      }
      if (ttl !== undefined)
        await store.sessions.update(row.id, { ttlMs: ttl === null ? null : (durationMs(ttl) ?? null) });
      if (title !== undefined || ttl !== undefined) audit(request, "session.change", row.publicId);
      if (name !== undefined && name !== row.name) {
        const renamed = await context.gateway.services.hosts.rename(
          row,
          callerOf(request).principal.user,
          name,
        );
        if (renamed === "name_taken") throw await nameTaken(request, name);
        audit(request, "session.rename", row.publicId);
      }
      return describeOne(context, await findSession(context, request, request.params.id));
    },
  );

  app.delete(
    "/v1/sessions/:id",
    {
      schema: {
        operationId: "deleteSession",
        summary: "Delete a session",
        description: "Its history is gone for good; a running turn is interrupted.",
        tags,
        params: sessionParams,
        response: { 204: z.undefined().describe("Deleted"), ...failures },
      },
    },
    async (request, reply) => {
      const { name } = await findSession(context, request, request.params.id);
      await askOnce(context, request, reply, (connection) =>
        connection.request("session.delete", { sessionId: name }),
      );
      return reply.code(204).send();
    },
  );
};
