import { createServer, type Socket } from "node:net";
import type { Gateway } from "../gateway/gateway.ts";
import { protocolVersion } from "../gateway/local-methods.ts";
import type { ClientLink, Connection } from "../gateway/vocabulary.ts";
import type { Identity } from "../identity/identity.ts";
import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import { isObject } from "../kernel/json.ts";
import type { Log } from "../telemetry/log.ts";
import type { Envelope } from "../wire/envelope.ts";
import { createPeer, type Peer } from "../wire/peer.ts";
import { takeIn } from "../wire/take-in.ts";
import { tuneSocket } from "../wire/tune-socket.ts";

/** A client that has connected and not said who it is must do so within this time. */
const authenticateWithinMs = 30_000;
/** Who has not said who it is may send no more than it takes to say so. */
const strangerFrameBytes = 64 * 1024;
/** Beyond it new connections are refused at once. */
const maxConnections = 20_000;
const taskKinds = ["agent", "client", "shell"];

/** How long a closing port waits for the answers to what it has been asked. */
const lastAnswersMs = 1_000;
/** How long who is connected to a drained node has to ask for something and be told so. */
const lingerMs = 1_000;

/**
 * Who is told to come again later sends nothing for a moment. No other moment is as good for the end of its connection:
 * a message that was on its way then would have nobody to answer it.
 */
const isDraining = (error: unknown): boolean => error instanceof SquadronError && error.code === "draining";

/** Programs recognise a wrong token by what a runtime says of it. */
const inWordsOfARuntime = (error: unknown): never => {
  if (error instanceof SquadronError && error.code === "unauthenticated")
    throw new SquadronError("unauthenticated", `AUTHENTICATION_FAILED: ${error.message}`);
  throw error;
};

/** The TCP port that official SDKs connect to as if it were a runtime. */
export interface SdkPort {
  readonly host: string;
  readonly port: number;
  /** After a drain: takes no connection any more, and lets each that is there hear of it before it ends. */
  leave(): Promise<void>;
  close(): Promise<void>;
}

type Visitor =
  | { readonly kind: "stranger" }
  | { readonly kind: "known"; readonly connection: Connection }
  | { readonly kind: "gone" };

const serveSocket = (
  socket: Socket,
  options: { gateway: Gateway; identity: Identity; clock: Clock; log: Log; maxFrameBytes: number },
): Peer => {
  const { gateway, identity, clock, log } = options;
  let visitor: Visitor = { kind: "stranger" };
  tuneSocket(socket);

  const recognise = async (token: string | undefined): Promise<Connection> => {
    const { principal, githubToken, keyId } = await identity.authenticate(token);
    if (visitor.kind !== "stranger") {
      throw new SquadronError(
        "invalid_request",
        "This connection has already said who it is; open another one for another user.",
      );
    }
    const connection = gateway.connect(principal, link, githubToken, keyId);
    visitor = { kind: "known", connection };
    cancelDeadline();
    return connection;
  };

  const authenticate = async (params: unknown): Promise<unknown> => {
    const given = isObject(params) ? params : {};
    const token = typeof given.token === "string" ? given.token : undefined;
    const connection = await recognise(token).catch(inWordsOfARuntime);
    const { id, principal } = connection;
    if (given.enableGitHubTelemetryForwarding === true) gateway.forwardTelemetry(connection);
    log.info({ connection: id, tenant: principal.tenant, user: principal.user }, "sdk client connected");
    const wanted = Array.isArray(given.supportedTaskKinds) ? given.supportedTaskKinds : taskKinds;
    return {
      ok: true,
      protocolVersion,
      version: gateway.services.runtimeVersion,
      taskKinds: taskKinds.filter((kind) => wanted.includes(kind)),
    };
  };

  const answer = async (frame: Envelope): Promise<unknown> => {
    if (frame.method === "connect") return authenticate(frame.params());
    if (visitor.kind !== "known") {
      throw new SquadronError(
        "unauthenticated",
        "Send connect with a token first: pass your key as the SDK's connectionToken.",
      );
    }
    return visitor.connection.request(frame.method ?? "", frame.params());
  };

  const peer = createPeer({
    input: socket,
    output: socket,
    clock,
    limits: { maxFrameBytes: () => (visitor.kind === "known" ? options.maxFrameBytes : strangerFrameBytes) },
    acknowledgePartial: true,
    handler: {
      request: (frame) =>
        answer(frame).catch((error: unknown) => {
          if (gateway.drained && isDraining(error)) peer.finish();
          throw error;
        }),
      notification: (frame) =>
        log.debug({ method: frame.method?.slice(0, 100) }, "a client's notification was ignored"),
    },
    onProtocolError: (error) =>
      log.info({ error: String(error) }, "a client broke the protocol and was disconnected"),
  });
  const link: ClientLink = {
    kind: "sdk",
    notify: peer.notify,
    sendRaw: peer.sendRaw,
    request: async (method, params, limits) => (await peer.request(method, params, limits)).result(),
    close: peer.close,
  };
  const cancelDeadline = clock.after(authenticateWithinMs, () =>
    peer.close(new SquadronError("unauthenticated", `No connect came within ${authenticateWithinMs} ms.`)),
  );

  void peer.closed.then(async () => {
    cancelDeadline();
    const last = visitor;
    visitor = { kind: "gone" };
    if (last.kind === "known") await last.connection.close();
  });
  return peer;
};

export const openSdkPort = (options: {
  readonly host: string;
  readonly port: number;
  readonly maxFrameBytes: number;
  readonly gateway: Gateway;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly log: Log;
}): Promise<SdkPort> => {
  const peers = new Set<Peer>();
  const server = createServer({ noDelay: true }, (socket) => {
    const peer = serveSocket(socket, options);
    peers.add(peer);
    void peer.closed.then(() => peers.delete(peer));
  });
  server.maxConnections = maxConnections;
  const { promise, resolve, reject } = Promise.withResolvers<SdkPort>();
  const { promise: ended, resolve: resolveEnded } = Promise.withResolvers<void>();
  let stopping: Promise<void> | undefined;
  const stopListening = async (): Promise<void> => {
    await takeIn(server);
    server.close(() => resolveEnded());
  };
  server.once("error", reject);
  server.listen(options.port, options.host, () => {
    server.off("error", reject);
    server.on("error", (error) => options.log.error({ error }, "the sdk port failed"));
    const address = server.address();
    resolve({
      host: options.host,
      port: typeof address === "object" && address !== null ? address.port : options.port,
      async leave() {
        stopping ??= stopListening();
        await stopping;
        const { promise: late, resolve: end } = Promise.withResolvers<void>();
        const cancel = options.clock.after(lingerMs, end);
        await Promise.race([ended, late]);
        cancel();
      },
      async close() {
        stopping ??= stopListening();
        await stopping;
        for (const peer of peers) peer.finish();
        const cancel = options.clock.after(lastAnswersMs, () => {
          for (const peer of peers) peer.close();
        });
        await ended;
        cancel();
      },
    });
  });
  return promise;
};
