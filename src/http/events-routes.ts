import type { FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { type EventPosition, parsePosition } from "../gateway/event-position.ts";
import { ticketUnusedMs } from "../identity/stream-tickets.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { OwnedSession } from "../store/store.ts";
import { callerOf, withReader } from "./caller.ts";
import { requestSignal, withConnection } from "./connection.ts";
import type { HttpApp, HttpContext } from "./context.ts";
import { type EventFeed, openEventFeed } from "./event-feed.ts";
import { findSession } from "./found-session.ts";
import { failures, sessionParams, time } from "./schemas.ts";
import { createStreamShares } from "./stream-shares.ts";

const tags = ["events"];

/** Where the client wants to go on. A browser that comes back says so in the header, and repeats its first address. */
const positionOf = (request: FastifyRequest, asked: string | undefined): EventPosition | undefined => {
  const header = request.headers["last-event-id"];
  const text = typeof header === "string" && header !== "" ? header : asked;
  if (text === undefined) return undefined;
  const position = parsePosition(text);
  if (position !== undefined) return position;
  throw new SquadronError("invalid_request", "lastEventId: It is no id of an event.", {
    details: { in: "querystring", field: "lastEventId" },
  });
};

/** Streams what the session tells until the client has had enough or `requested` aborts. */
const stream = async (
  { clock, gateway }: HttpContext,
  reply: FastifyReply,
  row: OwnedSession,
  user: string,
  position: EventPosition | undefined,
  requested: AbortSignal,
): Promise<FastifyReply> => {
  let feed: EventFeed | undefined;
  const expelled = new AbortController();
  const signal = AbortSignal.any([requested, expelled.signal]);
  const { hosts } = gateway.services;
  const reader = await hosts.read(row, {
    user,
    onExpelled: (reason) => expelled.abort(reason),
    position,
    signal,
    listener: () => feed?.more(),
  });
  let unfollow = (): void => undefined;
  try {
    const opened = openEventFeed({ clock, reader });
    feed = opened;
    const end = (): void => opened.end(signal.reason);
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    reply
      .header("content-type", "text/event-stream; charset=utf-8")
      .header("x-accel-buffering", "no")
      // It may end because the node closes, which must not wait for a connection that is kept.
      .header("connection", "close")
      .send(opened.body);
    unfollow = hosts.presence.follow(row.id, user, (event) => opened.aside("presence", event));
    await opened.closed;
    return reply;
  } finally {
    unfollow();
    reader.close();
  }
};

/** What a session tells, for as long as the client likes. */
export const eventsRoutes = (app: HttpApp, context: HttpContext): void => {
  const shares = createStreamShares();

  app.get(
    "/v1/sessions/:id/events",
    {
      schema: {
        operationId: "streamEvents",
        summary: "What happens in the session, as it happens",
        description:
          "Server-sent events, each with an id, and `presence` (who takes part and is there) at its begin and at each change. `Last-Event-ID` goes on after that one, without gap or repetition; without it the stream begins now. The session is neither woken nor kept awake by it.",
        tags,
        params: sessionParams,
        querystring: z.strictObject({
          lastEventId: z
            .string()
            .min(1)
            .max(500)
            .optional()
            .describe("As the header, which is stronger; `start`: from the begin of the history"),
          ticket: z.string().min(1).max(200).optional().describe("Instead of a key, for browsers"),
        }),
        headers: z.looseObject({
          "last-event-id": z.string().max(500).optional().describe("The id of the last event that you got"),
        }),
        response: {
          200: {
            description: "The events, until you leave or `stream.closed` says why it ends.",
            content: { "text/event-stream": { schema: z.string() } },
          },
          ...failures,
        },
      },
    },
    async (request, reply) => {
      const { ticket, lastEventId } = request.query;
      const { id: session } = request.params;
      const replaced = new AbortController();
      const onReplaced = (): void =>
        replaced.abort(new SquadronError("cancelled", "Another stream was opened with this ticket."));
      return withReader(context, request, { session, ticket, onReplaced }, () =>
        shares.within(callerOf(request).principal, async () => {
          const { user } = callerOf(request).principal;
          const row = await findSession(context, request, session);
          const position = positionOf(request, lastEventId);
          // So that the stream ends when the key is revoked.
          return withConnection(context, request, () => {
            const signal = AbortSignal.any([requestSignal(context, reply), replaced.signal]);
            return stream(context, reply, row, user, position, signal);
          });
        }),
      );
    },
  );
};

/** For browsers, whose `EventSource` can send no key. */
export const eventTicketRoutes = (app: HttpApp, context: HttpContext): void => {
  app.post(
    "/v1/sessions/:id/events/ticket",
    {
      schema: {
        operationId: "createEventTicket",
        summary: "A ticket with which a browser opens the session's event stream",
        description:
          "It is good for this session's stream alone, one at a time, and for opening it again when it was cut, up to a minute later. A key in the address would end up in logs and histories.",
        tags,
        params: sessionParams,
        response: {
          201: z.object({
            ticket: z.string(),
            url: z.string().describe("The stream's address with the ticket"),
            expiresAt: time.describe("When it ends, unless it is in use then"),
          }),
          ...failures,
        },
      },
    },
    async (request, reply) => {
      const row = await findSession(context, request, request.params.id);
      const ticket = context.identity.streamTicket(callerOf(request), row.publicId).reveal();
      return reply.code(201).send({
        ticket,
        url: `/v1/sessions/${row.publicId}/events?ticket=${ticket}`,
        expiresAt: new Date(context.clock.now() + ticketUnusedMs).toISOString(),
      });
    },
  );
};
