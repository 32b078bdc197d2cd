import { z } from "zod";
import type { RequestKeyUse } from "../store/store.ts";
import { askOnce, withConnection } from "./connection.ts";
import type { HttpApp, HttpContext } from "./context.ts";
import { followTurn } from "./followed-turn.ts";
import { findSession } from "./found-session.ts";
import { historyEvents, messagesOf, pageOf } from "./history.ts";
import { once, replayedHeader, requestKeyOf } from "./idempotency.ts";
import {
  answerOrEvents,
  attachment,
  cursor,
  failures,
  idempotencyHeaders,
  limit,
  prompt,
  sessionParams,
  turnAnswer,
} from "./schemas.ts";
import { answerTo } from "./turn.ts";
import { type RunTurn, replyWithTurn } from "./turn-reply.ts";

const tags = ["messages"];

const message = z
  .object({
    id: z.string(),
    role: z.enum(["user", "assistant"]),
    content: z.string(),
    at: z.string(),
    sender: z
      .string()
      .optional()
      .describe("The user who sent it; absent from answers, and where a plan, a command or an agent spoke"),
  })
  .meta({ id: "Message" });
const event = z.looseObject({ type: z.string() }).meta({ id: "SessionEvent" });

/** What is said in a session. */
export const messagesRoutes = (app: HttpApp, context: HttpContext): void => {
  const { gateway } = context;

  app.post(
    "/v1/sessions/:id/messages",
    {
      bodyLimit: 32 * 1024 * 1024,
      schema: {
        operationId: "sendMessage",
        summary: "Say something and get the answer",
        description:
          "Messages of one session are answered one after the other. The turn goes on when the client goes away; its answer is then in the history.",
        tags,
        headers: idempotencyHeaders,
        params: sessionParams,
        querystring: z.strictObject({
          wait: z
            .enum(["true", "false"])
            .default("true")
            .describe("`false`: 202 as soon as the message has been taken"),
        }),
        body: z.strictObject({
          prompt,
          attachments: z.array(attachment).max(20).optional(),
          onBusy: z
            .enum(["enqueue", "reject", "interrupt", "steer"])
            .optional()
            .describe("What to do when another message is being answered; the tenant's way if absent"),
        }),
        response: {
          200: answerOrEvents(turnAnswer),
          202: z
            .object({ turnId: z.string() })
            .describe(
              "The message has been taken and runs, whatever becomes of this connection or this node",
            ),
          ...failures,
        },
      },
    },
    async (request, reply) => {
      const session = await findSession(context, request, request.params.id);
      const sessionId = session.name;
      const { prompt, attachments, onBusy } = request.body;
      const params = { sessionId, prompt, ...(attachments !== undefined && { attachments }) };
      const key = requestKeyOf(context, request);
      const how = { key, ...(onBusy !== undefined && { onBusy }) };
      const turnOf = ({ turnId }: RequestKeyUse): string => {
        reply.header(replayedHeader, "true");
        return turnId ?? "";
      };
      if (request.query.wait === "false") {
        const turnId = await once(
          context,
          key,
          async () => {
            const { turn } = await askOnce(context, request, reply, async (connection) => {
              await connection.watch(sessionId);
              return connection.send(params, { answer: "stored", ...how });
            });
            return turn.id;
          },
          async (use) => turnOf(use),
        );
        return reply
          .code(202)
          .header("location", `/v1/sessions/${request.params.id}/turns/${turnId}`)
          .send({ turnId });
      }
      const run: RunTurn = (events, signal) =>
        withConnection(
          context,
          request,
          async (connection) => {
            await connection.watch(sessionId);
            const turn = await once(
              context,
              key,
              () => events.send(connection, params, how),
              async (use) => events.follow(await followTurn(context, session, turnOf(use), signal)),
            );
            return answerTo(turn, signal);
          },
          events.take,
        );
      return replyWithTurn(context, request, reply, run, (answer) => answer);
    },
  );

  app.get(
    "/v1/sessions/:id/messages",
    {
      schema: {
        operationId: "listMessages",
        summary: "The conversation so far, the oldest first",
        tags,
        params: sessionParams,
        querystring: z.strictObject({
          cursor: cursor.optional(),
          limit: limit(500),
          view: z
            .enum(["messages", "events"])
            .default("messages")
            .describe("`events`: everything that the runtime recorded"),
        }),
        response: {
          200: z.object({
            messages: z.array(message).optional(),
            events: z.array(event).optional(),
            next: z.string().optional(),
          }),
          ...failures,
        },
      },
    },
    async (request, reply) => {
      const session = await findSession(context, request, request.params.id);
      const sessionId = session.name;
      const answer = await askOnce(context, request, reply, async (connection) => {
        await connection.watch(sessionId);
        return connection.request("session.getMessages", { sessionId });
      });
      const events = historyEvents(answer, await gateway.services.hosts.sendersOf(session));
      if (request.query.view === "events") {
        const { items, ...rest } = pageOf(events, request.query);
        return { events: items, ...rest };
      }
      const { items, ...rest } = pageOf(messagesOf(events), request.query);
      return { messages: items, ...rest };
    },
  );
};
