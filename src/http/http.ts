import fastifyHelmet from "@fastify/helmet";
import { fastify } from "fastify";
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from "fastify-type-provider-zod";
import { withDeadline } from "../kernel/deadline.ts";
import { SquadronError } from "../kernel/errors.ts";
import { newId } from "../kernel/ids.ts";
import type { Log } from "../telemetry/log.ts";
import { takeIn } from "../wire/take-in.ts";
import { accountRoutes } from "./account-routes.ts";
import { adminRoutes } from "./admin-routes.ts";
import { adminSessionsRoutes } from "./admin-sessions-routes.ts";
import { browserSessionRoutes } from "./browser-session-routes.ts";
import { authenticate, knownCaller } from "./caller.ts";
import type { HttpApp, HttpContext } from "./context.ts";
import { docsRoutes } from "./docs-routes.ts";
import { eventsRoutes, eventTicketRoutes } from "./events-routes.ts";
import { invitesRoutes } from "./invites-routes.ts";
import { messagesRoutes } from "./messages-routes.ts";
import { collectOpenApi } from "./openapi.ts";
import { operationsRoutes } from "./operations-routes.ts";
import { pageRoutes } from "./page-routes.ts";
import { participantsRoutes } from "./participants-routes.ts";
import { presenceRoutes } from "./presence-routes.ts";
import { sendProblem } from "./problem.ts";
import { promptsRoutes } from "./prompts-routes.ts";
import { requestsRoutes } from "./requests-routes.ts";
import { sessionsRoutes } from "./sessions-routes.ts";
import { turnsRoutes } from "./turns-routes.ts";

const bodyLimit = 4 * 1024 * 1024;
/** Longest time for a whole request to come in. */
const requestTimeoutMs = 60_000;

/** How long closing waits for what is open. */
const closeWithinMs = 10_000;

/** The node's HTTP port. */
export interface HttpServer {
  readonly host: string;
  readonly port: number;
  /** Ends what waits and every event stream with `draining`, then closes. Running turns go on without their listeners. */
  close(): Promise<void>;
}

export type HttpOptions = Pick<
  HttpContext,
  | "gateway"
  | "identity"
  | "store"
  | "fleet"
  | "janitor"
  | "metrics"
  | "clock"
  | "log"
  | "drain"
  | "drainTimeoutMs"
  | "idempotencyTtlMs"
> & {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
};

const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || /^127(\.\d+){3}$/.test(host);

/** A client's own id is taken over if it is a plain word. */
const requestId = (given: string | string[] | undefined): string =>
  typeof given === "string" && /^[\w.:-]{1,100}$/.test(given) ? given : newId("req");

const createApp = (log: Log): HttpApp => {
  const app = fastify({
    bodyLimit,
    // Its answer has none of our codes; ours refuse by themselves what a draining node does not do.
    return503OnClosing: false,
    requestTimeout: requestTimeoutMs,
    genReqId: ({ headers }) => requestId(headers["x-request-id"]),
    frameworkErrors: (error, request, reply) => void sendProblem(log, error, request, reply),
    routerOptions: { maxParamLength: 500 },
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.removeContentTypeParser("text/plain");
  const parseJson = app.getDefaultJsonParser("error", "error");
  // Many clients name the type of a body that they do not send, with DELETE above all.
  app.addContentTypeParser("application/json", { parseAs: "string" }, (request, body: string, done) => {
    if (body === "") done(null, undefined);
    else parseJson(request, body, done);
  });
  return app;
};

/** What is the same for every request: its id, its headers, its line in the log, its figures, its errors. */
const observe = (app: HttpApp, { clock, log, metrics, closing, gateway }: HttpContext): void => {
  const startedAt = new WeakMap<object, number>();

  app.addHook("onRequest", async (request, reply) => {
    startedAt.set(request, clock.monotonic());
    reply.header("x-request-id", request.id).header("cache-control", "no-store");
  });
  app.addHook("onSend", async (_request, reply) => {
    if (closing.aborted || gateway.drained) reply.header("connection", "close");
  });
  app.addHook("onResponse", async (request, reply) => {
    const ms = clock.monotonic() - (startedAt.get(request) ?? clock.monotonic());
    const route = request.routeOptions.url ?? "unmatched";
    const status = reply.raw.writableFinished ? reply.statusCode : 499;
    metrics.httpRequest({ method: request.method, route, status, seconds: ms / 1000 });
    const { tenant, user } = knownCaller(request) ?? {};
    log.info(
      { request: request.id, method: request.method, route, status, ms: Math.round(ms), tenant, user },
      "http request",
    );
  });
  app.setErrorHandler((error, request, reply) => sendProblem(log, error, request, reply));
  app.setNotFoundHandler((request, reply) =>
    sendProblem(
      log,
      new SquadronError("not_found", "There is nothing at this address; /docs tells what there is."),
      request,
      reply,
    ),
  );
};

/** Builds the HTTP API, without listening. */
export const buildHttpApp = async (
  context: HttpContext,
  options: { readonly metricsNeedKey: boolean },
): Promise<HttpApp> => {
  const app = createApp(context.log);
  observe(app, context);
  await app.register(fastifyHelmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
    },
    strictTransportSecurity: false,
  });
  await collectOpenApi(app);
  operationsRoutes(app, context, options);
  docsRoutes(app);
  pageRoutes(app);
  eventsRoutes(app, context);
  browserSessionRoutes(app, context);
  await app.register(async (plain) => {
    const api = plain.withTypeProvider<ZodTypeProvider>();
    api.addHook("onRequest", async (request) => {
      await authenticate(context, request);
    });
    api.addHook("preValidation", async (request) => {
      request.body ??= {};
    });
    for (const routes of [
      promptsRoutes,
      sessionsRoutes,
      participantsRoutes,
      invitesRoutes,
      messagesRoutes,
      turnsRoutes,
      requestsRoutes,
      eventTicketRoutes,
      presenceRoutes,
      accountRoutes,
      adminRoutes,
      adminSessionsRoutes,
    ])
      routes(api, context);
  });
  app.addHook("preClose", () => takeIn(app.server));
  await app.ready();
  return app;
};

/** Opens the HTTP API. Rejects when the address is taken. */
export const openHttp = async ({ host, port, ...parts }: HttpOptions): Promise<HttpServer> => {
  const closing = new AbortController();
  const working = new Set<Promise<unknown>>();
  const context: HttpContext = { ...parts, closing: closing.signal, working };
  const app = await buildHttpApp(context, { metricsNeedKey: !isLoopback(host) });
  await app.listen({ host, port });
  const address = app.server.address();
  return {
    host,
    port: typeof address === "object" && address !== null ? address.port : port,
    async close() {
      closing.abort(new SquadronError("draining", "The node is shutting down."));
      const settled = Promise.all([app.close(), ...working]);
      try {
        await withDeadline(settled, {
          clock: parts.clock,
          ms: closeWithinMs,
          what: "The end of the open requests",
        });
      } catch (error) {
        parts.log.warn({ error }, "http requests that did not end were cut");
        app.server.closeAllConnections();
      }
    },
  };
};
