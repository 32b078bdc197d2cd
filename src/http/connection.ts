import type { FastifyReply, FastifyRequest } from "fastify";
import type { ClientLink, Connection } from "../gateway/vocabulary.ts";
import { SquadronError } from "../kernel/errors.ts";
import { isObject } from "../kernel/json.ts";
import { callerOf } from "./caller.ts";
import type { HttpContext } from "./context.ts";

/** An event of a session, as runtimes shape them. */
export interface SessionEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

const eventIn = (params: unknown): SessionEvent | undefined => {
  const event = isObject(params) ? params.event : undefined;
  return isObject(event) && typeof event.type === "string" ? { ...event, type: event.type } : undefined;
};

/** The gateway's way to a client that only sends requests: its sessions' events go to `onEvent`, it answers no callback. */
const linkTo = (onEvent: (event: SessionEvent) => void, close: (reason: Error) => void): ClientLink => {
  const notify = (method: unknown, params: unknown): void => {
    const event = method === "session.event" ? eventIn(params) : undefined;
    if (event !== undefined) onEvent(event);
  };
  return {
    kind: "http",
    notify,
    close,
    sendRaw(body) {
      const message: unknown = JSON.parse(body.toString());
      if (isObject(message)) notify(message.method, message.params);
    },
    request: async (method) => {
      throw new SquadronError("method_unknown", `A client of the HTTP API does not answer ${method}.`);
    },
  };
};

const endings = new WeakMap<FastifyRequest, AbortController>();

/** Aborts when the gateway ends the request's connection. */
const endingOf = (request: FastifyRequest): AbortController => {
  const ending = endings.get(request) ?? new AbortController();
  endings.set(request, ending);
  return ending;
};

const nobodyListens = (): void => undefined;

/**
 * Runs `use` with a connection of the request's sender, closed afterwards: that can take as long as the session's next turn
 * takes to wake it, and nobody need wait for it but the server, before it closes.
 */
export const withConnection = <T>(
  { gateway, identity, working, log }: HttpContext,
  request: FastifyRequest,
  use: (connection: Connection) => Promise<T>,
  onEvent: (event: SessionEvent) => void = nobodyListens,
): Promise<T> => {
  let closed: Promise<void> | undefined;
  const run = async (): Promise<T> => {
    const caller = callerOf(request);
    const { principal, githubToken, keyId } = caller;
    const link = linkTo(onEvent, (reason) => endingOf(request).abort(reason));
    const connection = gateway.connect(principal, link, githubToken, keyId);
    const unfollow = identity.whenSignedOut(caller, () =>
      link.close(new SquadronError("unauthenticated", "The browser is not signed in any more.")),
    );
    log.debug({ request: request.id, connection: connection.id }, "http request connected");
    try {
      return await use(connection);
    } finally {
      unfollow();
      closed = connection
        .close()
        .catch((error) =>
          log.error({ request: request.id, error }, "an http request did not leave its session"),
        );
    }
  };
  const work = run();
  const settled = work.then(
    () => closed,
    () => closed,
  );
  working.add(settled);
  void settled.then(() => working.delete(settled));
  return work;
};

/** Aborts when the client goes away (`cancelled`), the server closes (`draining`) or the key is revoked (`unauthenticated`). */
export const requestSignal = ({ closing }: HttpContext, reply: FastifyReply): AbortSignal => {
  const gone = new AbortController();
  const leave = (): void => gone.abort(new SquadronError("cancelled", "The client went away."));
  reply.raw.once("close", leave);
  if (reply.raw.destroyed) leave();
  return AbortSignal.any([gone.signal, closing, endingOf(reply.request).signal]);
};

/** The work's result, or the signal's reason if that comes first. The work itself goes on. */
export const unlessAborted = <T>(work: Promise<T>, signal: AbortSignal): Promise<T> =>
  new Promise((resolve, reject) => {
    const aborted = (): void => reject(signal.reason);
    if (signal.aborted) aborted();
    signal.addEventListener("abort", aborted, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", aborted));
  });

/** `withConnection` for calls that need no tidying up: the request no longer waits when its client goes away. */
export const askOnce = <T>(
  context: HttpContext,
  request: FastifyRequest,
  reply: FastifyReply,
  ask: (connection: Connection) => Promise<T>,
): Promise<T> => {
  const signal = requestSignal(context, reply);
  return withConnection(context, request, (connection) => unlessAborted(ask(connection), signal));
};
