import { z } from "zod";
import { formatDuration } from "../kernel/units.ts";
import type { InviteRow } from "../store/store.ts";
import { callerOf } from "./caller.ts";
import type { HttpApp, HttpContext } from "./context.ts";
import { describeOne, findSession, requirePart } from "./found-session.ts";
import { durationBetween, durationMs, failures, name, session, sessionParams, time } from "./schemas.ts";

const tags = ["participants"];

const dayMs = 86_400_000;
const defaultTtlMs = 7 * dayMs;
const ttlRange = { min: 60_000, max: 90 * dayMs } as const;

const invite = z
  .object({
    id: z.string(),
    role: z.enum(["writer", "reader"]),
    usesLeft: z.int(),
    expiresAt: time,
    createdBy: z.string(),
  })
  .meta({ id: "Invite" });

const describe = ({ id, role, usesLeft, expiresAt, createdBy }: InviteRow): z.infer<typeof invite> => ({
  id,
  role,
  usesLeft,
  expiresAt: new Date(expiresAt).toISOString(),
  createdBy,
});

/** Links by which users of the tenant come to take part in a session. */
export const invitesRoutes = (app: HttpApp, context: HttpContext): void => {
  const { participants } = context.gateway.services;

  app.post(
    "/v1/sessions/:id/invites",
    {
      schema: {
        operationId: "createInvite",
        summary: "Make a link by which others of your tenant can join",
        description:
          "By an owner. The token is shown this once; the node keeps only its hash. Invites of an owner who is one no longer are taken back.",
        tags,
        params: sessionParams,
        body: z.strictObject({
          role: z.enum(["writer", "reader"]).default("writer"),
          uses: z.int().min(1).max(1_000).default(1).describe("How many users may join by it"),
          ttl: durationBetween(ttlRange)
            .optional()
            .describe(`How long it can be used; ${formatDuration(defaultTtlMs)} if absent`),
        }),
        response: {
          201: invite
            .extend({
              token: z.string(),
              url: z.string().describe("The chat room's address with the token"),
            })
            .meta({ id: "NewInvite" }),
          ...failures,
        },
      },
    },
    async (request, reply) => {
      const row = await findSession(context, request, request.params.id);
      const { role, uses, ttl } = request.body;
      const ttlMs = (ttl === undefined ? undefined : durationMs(ttl)) ?? defaultTtlMs;
      const made = await participants.invite(callerOf(request).principal, row, { role, uses, ttlMs });
      const token = made.token.reveal();
      return reply.code(201).send({ ...describe(made.invite), token, url: `/chat#invite=${token}` });
    },
  );

  app.get(
    "/v1/sessions/:id/invites",
    {
      schema: {
        operationId: "listInvites",
        summary: "Links that can still be used, without their tokens",
        tags,
        params: sessionParams,
        response: { 200: z.object({ invites: z.array(invite) }), ...failures },
      },
    },
    async (request) => {
      const row = await findSession(context, request, request.params.id);
      requirePart(context, request, row, "owner", "seeing its invites");
      const invites = await participants.invites(row);
      return { invites: invites.map(describe) };
    },
  );

  app.delete(
    "/v1/sessions/:id/invites/:inviteId",
    {
      schema: {
        operationId: "removeInvite",
        summary: "Take a link back",
        description: "Who has joined by it stays.",
        tags,
        params: sessionParams.extend({ inviteId: z.string().min(1).max(200) }),
        response: { 204: z.undefined().describe("Nobody can use it any more"), ...failures },
      },
    },
    async (request, reply) => {
      const row = await findSession(context, request, request.params.id);
      await participants.withdraw(callerOf(request).principal, row, request.params.inviteId);
      return reply.code(204).send();
    },
  );

  app.post(
    "/v1/invites/accept",
    {
      schema: {
        operationId: "acceptInvite",
        summary: "Join a session by an invite",
        description:
          "Who takes part already stays what they are, and spends no use; who has joined by this invite finds the session again by it, though it is used up. Whatever is wrong with the token is 404 `invite_invalid`.",
        tags,
        body: z.strictObject({
          token: z.string().min(1).max(200),
          name: name.optional().describe("What you call the session; `founder~name` if absent"),
        }),
        response: { 200: session, ...failures },
      },
    },
    async (request) => {
      const { token, name } = request.body;
      const row = await participants.accept(callerOf(request).principal, token, name);
      return describeOne(context, row);
    },
  );
};
