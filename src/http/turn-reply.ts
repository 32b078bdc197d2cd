import type { FastifyReply, FastifyRequest } from "fastify";
import { SquadronError } from "../kernel/errors.ts";
import { requestSignal } from "./connection.ts";
import type { HttpContext } from "./context.ts";
import { knownError } from "./problem.ts";
import { type EventStream, openEventStream } from "./sse.ts";
import { createTurnEvents, type TurnAnswer, type TurnEvents } from "./turn.ts";

/** Runs a turn whose events go through `events`; gives up waiting when the signal aborts. */
export type RunTurn = (events: TurnEvents, signal: AbortSignal) => Promise<TurnAnswer>;

const lastEvents: Readonly<Record<string, string>> = {
  turn_aborted: "turn.aborted",
  turn_interrupted: "turn.interrupted",
  draining: "stream.closed",
  forbidden: "stream.closed",
};

export const wantsEvents = (request: FastifyRequest): boolean =>
  request.headers.accept?.includes("text/event-stream") === true;

/** Answers with the turn's result as `shape` makes it, once the turn has ended. */
const replyOnce = async (
  context: HttpContext,
  reply: FastifyReply,
  run: RunTurn,
  shape: (answer: TurnAnswer) => unknown,
): Promise<FastifyReply> => {
  const events = createTurnEvents({ answer: "ended", onSent: () => undefined, onEvent: () => undefined });
  return reply.send(shape(await run(events, requestSignal(context, reply))));
};

/**
 * Answers with the turn's events. The stream begins when the message has been taken, so that a refusal before that is
 * an ordinary error response, and ends with the turn's outcome.
 */
const replyWithEvents = async (
  context: HttpContext,
  reply: FastifyReply,
  run: RunTurn,
  shape: (answer: TurnAnswer) => unknown,
): Promise<FastifyReply> => {
  const cut = new AbortController();
  const signal = AbortSignal.any([requestSignal(context, reply), cut.signal]);
  let stream: EventStream | undefined;
  const events = createTurnEvents({
    answer: "stored",
    onSent(turnId) {
      stream = openEventStream({
        clock: context.clock,
        onCut: () =>
          cut.abort(new SquadronError("slow_consumer", "The client left too much of the stream unread.")),
      });
      reply
        .header("content-type", "text/event-stream; charset=utf-8")
        .header("x-accel-buffering", "no")
        // A stream may end because the node closes, which must not wait for a connection that is kept.
        .header("connection", "close")
        .send(stream.body);
      stream.send("turn.accepted", { turnId });
    },
    onEvent: (event) => stream?.send(event.type, event),
  });
  try {
    const answer = await run(events, signal);
    stream?.end("turn.completed", shape(answer));
  } catch (error) {
    if (stream === undefined) throw error;
    const { code, message, details } = knownError(error);
    stream.end(lastEvents[code] ?? "turn.failed", { code, detail: message, details });
  }
  await stream?.closed;
  return reply;
};

/** Answers a request for a turn in the form that the client accepts. */
export const replyWithTurn = (
  context: HttpContext,
  request: FastifyRequest,
  reply: FastifyReply,
  run: RunTurn,
  shape: (answer: TurnAnswer) => unknown,
): Promise<FastifyReply> =>
  wantsEvents(request) ? replyWithEvents(context, reply, run, shape) : replyOnce(context, reply, run, shape);
