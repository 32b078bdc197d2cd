import { z } from "zod";
import type { Connection } from "../gateway/vocabulary.ts";
import { newUuid } from "../kernel/ids.ts";
import { withConnection } from "./connection.ts";
import type { HttpApp, HttpContext } from "./context.ts";
import { createCall } from "./create-call.ts";
import { answerOrEvents, attachment, failures, model, prompt, systemMessage, usage } from "./schemas.ts";
import { answerTo } from "./turn.ts";
import { type RunTurn, replyWithTurn } from "./turn-reply.ts";

/** A runtime that dies while it deletes takes its part of the session with it; the second try removes the rest. */
const deleteTries = 2;

/** One-shot prompts: a session that exists for one answer. */
export const promptsRoutes = (app: HttpApp, context: HttpContext): void => {
  const remove = async (connection: Connection, sessionId: string): Promise<void> => {
    for (let left = deleteTries; left > 0; left--) {
      try {
        await connection.request("session.delete", { sessionId });
        return;
      } catch (error) {
        context.log.warn({ connection: connection.id, error }, "a one-shot session was not deleted");
      }
    }
    context.log.error(
      { connection: connection.id },
      "a one-shot session remains until the node starts again",
    );
  };

  app.post(
    "/v1/prompts",
    {
      bodyLimit: 32 * 1024 * 1024,
      schema: {
        operationId: "prompt",
        summary: "Ask once",
        description:
          "Answers the prompt in a session of its own, of which nothing is left when the answer comes, also after an error or when the client goes away.",
        tags: ["prompts"],
        body: z.strictObject({
          prompt,
          attachments: z.array(attachment).max(20).optional(),
          model: model.optional(),
          systemMessage: systemMessage.optional(),
        }),
        response: {
          200: answerOrEvents(
            z
              .object({ content: z.string(), usage, model: z.string().optional() })
              .meta({ id: "PromptAnswer" }),
          ),
          ...failures,
        },
      },
    },
    async (request, reply) => {
      const { prompt, attachments, ...asked } = request.body;
      let used = asked.model;
      const run: RunTurn = (events, signal) =>
        withConnection(
          context,
          request,
          async (connection) => {
            const sessionId = newUuid();
            used ??= connection.policy.model;
            try {
              await connection.create(createCall(sessionId, asked), {
                ephemeral: true,
                visibility: "private",
              });
              signal.throwIfAborted();
              const sent = await events.send(connection, {
                sessionId,
                prompt,
                ...(attachments !== undefined && { attachments }),
              });
              return await answerTo(sent, signal);
            } finally {
              await remove(connection, sessionId);
            }
          },
          events.take,
        );
      return replyWithTurn(context, request, reply, run, ({ content, usage }) => ({
        content,
        usage,
        ...(used !== undefined && { model: used }),
      }));
    },
  );
};
