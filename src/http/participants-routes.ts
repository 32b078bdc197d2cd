import { z } from "zod";
import { isPrincipalName, principalNameForm } from "../config/principal-name.ts";
import type { Participant } from "../store/store.ts";
import { callerOf } from "./caller.ts";
import type { HttpApp, HttpContext } from "./context.ts";
import { findSession } from "./found-session.ts";
import { failures, name, sessionParams } from "./schemas.ts";

const tags = ["participants"];

const role = z.enum(["owner", "writer", "reader"]);

const participant = z
  .object({
    user: z.string(),
    role,
    attached: z.boolean().describe("Has the user an SDK client attached, or an event stream open?"),
    typing: z.boolean(),
  })
  .meta({ id: "Participant" });

const granted = participant
  .extend({
    name: z
      .string()
      .optional()
      .describe(
        "The user's own name for the session, the id for their SDK clients; absent if they have given it one that does not begin with `founder~`",
      ),
  })
  .meta({ id: "GrantedParticipant" });

const participantParams = sessionParams.extend({
  user: z.string().refine(isPrincipalName, `It must be a user's name: ${principalNameForm}.`),
});

/** Who takes part in a session, and as what. */
export const participantsRoutes = (app: HttpApp, context: HttpContext): void => {
  const { store, gateway } = context;
  const { participants, hosts } = gateway.services;

  const describe = (session: string, { user, role }: Participant): z.infer<typeof participant> => ({
    user,
    role,
    ...hosts.presence.of(session, user),
  });

  app.get(
    "/v1/sessions/:id/participants",
    {
      schema: {
        operationId: "listParticipants",
        summary: "Who takes part in the session: its founder first, then the others",
        tags,
        params: sessionParams,
        response: { 200: z.object({ participants: z.array(participant) }), ...failures },
      },
    },
    async (request) => {
      const { id } = await findSession(context, request, request.params.id);
      const all = await store.participants.list(id);
      return { participants: all.map((one) => describe(id, one)) };
    },
  );

  app.put(
    "/v1/sessions/:id/participants/:user",
    {
      schema: {
        operationId: "setParticipant",
        summary: "Let a user of your tenant take part, or give one another role",
        description:
          "By an owner. Readers see what is said; writers also send, and answer what their own turns ask; owners also let others take part, rename and delete the session. The founder stays an owner. It counts at once for connections that are open.",
        tags,
        params: participantParams,
        body: z.strictObject({
          role,
          name: name
            .optional()
            .describe(
              "What the user calls the session, as the id for SDK clients: it begins with `founder~`, whatever it is then, and is `founder~name` if absent; with a number behind it if the user has one of that name",
            ),
        }),
        response: { 200: granted, ...failures },
      },
    },
    async (request) => {
      const session = await findSession(context, request, request.params.id);
      const { principal } = callerOf(request);
      const { user } = request.params;
      const one = await participants.grant(principal, session, { user, ...request.body });
      const given = one.name.startsWith(`${session.owner}~`);
      return { ...describe(session.id, one), ...(given && { name: one.name }) };
    },
  );

  app.delete(
    "/v1/sessions/:id/participants/:user",
    {
      schema: {
        operationId: "removeParticipant",
        summary: "Let a user take part no longer, or leave",
        description:
          "By an owner, or by the user. When it is answered, the user's connections get nothing of the session any more, what they had waiting is taken back, and their running turn is being aborted.",
        tags,
        params: participantParams,
        response: { 204: z.undefined().describe("Removed"), ...failures },
      },
    },
    async (request, reply) => {
      const session = await findSession(context, request, request.params.id);
      await participants.revoke(callerOf(request).principal, session, request.params.user);
      return reply.code(204).send();
    },
  );
};
