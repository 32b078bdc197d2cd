import { z } from "zod";
import { callerOf } from "./caller.ts";
import type { HttpApp, HttpContext } from "./context.ts";
import { findSession, requirePart } from "./found-session.ts";
import { failures, sessionParams } from "./schemas.ts";

/** What who takes part in a session lets the others see of it. */
export const presenceRoutes = (app: HttpApp, context: HttpContext): void => {
  app.post(
    "/v1/sessions/:id/typing",
    {
      schema: {
        operationId: "setTyping",
        summary: "Tell the others that you are writing, or no more",
        description:
          "Readers of the event stream see it in `presence`. It ends by itself after 10 seconds, so say it again while you write, and when you send a message.",
        tags: ["events"],
        params: sessionParams,
        body: z.strictObject({ typing: z.boolean() }),
        response: { 204: z.undefined().describe("Told"), ...failures },
      },
    },
    async (request, reply) => {
      const row = await findSession(context, request, request.params.id);
      requirePart(context, request, row, "writer", "typing");
      const { user } = callerOf(request).principal;
      context.gateway.services.hosts.presence.typing(row.id, user, request.body.typing);
      return reply.code(204).send();
    },
  );
};
