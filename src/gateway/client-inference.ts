import type { Runtime } from "../fleet/fleet.ts";
import { SquadronError } from "../kernel/errors.ts";
import { newId } from "../kernel/ids.ts";
import { isObject } from "../kernel/json.ts";
import type { Log } from "../telemetry/log.ts";
import { RawJson } from "../wire/peer.ts";
import type { Connection, SessionHost } from "./vocabulary.ts";

/** How long a runtime may take to accept a piece of an answer. */
const acceptWithinMs = 30_000;

/** Calls that one connection may have open; more are told to the runtime as failed. */
const maxCalls = 256;

interface Call {
  /** The name that the client knows the call by; runtimes choose theirs independently of one another. */
  readonly clientId: string;
  readonly runtimeId: string;
  readonly runtime: Runtime;
  readonly connection: Connection;
}

/**
 * Model calls that clients make themselves (the SDK's `requestHandler`). On a bare runtime one client does so for all
 * sessions; here each connection does so for the sessions whose record it wrote last.
 */
export interface ClientInference {
  /** `llmInference.setProvider` of a client. Throws `method_denied` unless the policy allows clients' own providers. */
  offer(connection: Connection): void;
  offers(connection: Connection | undefined): boolean;
  /** `httpRequestStart` of a runtime for a session whose client makes the calls. */
  start(
    runtime: Runtime,
    host: SessionHost,
    connection: Connection,
    params: Record<string, unknown>,
  ): Promise<unknown>;
  /** `httpRequestChunk` of a runtime; `undefined` when the call is not a client's. */
  chunk(runtime: Runtime, params: Record<string, unknown>): Promise<unknown> | undefined;
  /** `httpResponseStart` and `httpResponseChunk` of a client. */
  answer(connection: Connection, method: string, params: Readonly<Record<string, unknown>>): Promise<unknown>;
  forget(connection: Connection): void;
  runtimeClosed(runtime: Runtime): void;
}

export const createClientInference = (log: Log): ClientInference => {
  const offering = new WeakSet<Connection>();
  const byClientId = new Map<string, Call>();
  const byRuntime = new Map<string, Call>();
  const key = (runtime: Runtime, requestId: unknown): string => `${runtime.id} ${String(requestId)}`;

  const drop = (call: Call): void => {
    byClientId.delete(call.clientId);
    byRuntime.delete(key(call.runtime, call.runtimeId));
  };

  /** Tells the runtime that nobody will answer. */
  const fail = ({ runtime, runtimeId }: Call, message: string): void => {
    runtime.peer
      .request(
        "llmInference.httpResponseChunk",
        { requestId: runtimeId, data: "", end: true, error: { message, code: "client_gone" } },
        { timeoutMs: acceptWithinMs },
      )
      .catch((error) =>
        log.info({ runtime: runtime.id, error }, "a runtime did not take the end of a model call"),
      );
  };

  const ask = ({ connection }: Call, method: string, params: unknown): Promise<unknown> =>
    connection.link.request(method, params, { timeoutMs: connection.policy.limits.callbackTimeoutMs });

  return {
    offer(connection) {
      if (!connection.policy.allow.provider) {
        throw new SquadronError(
          "method_denied",
          "Model calls are made by the server: llmInference.setProvider needs allow.provider in the tenant's policy.",
          { details: { method: "llmInference.setProvider", policy: "allow.provider" } },
        );
      }
      offering.add(connection);
    },
    offers: (connection) => connection !== undefined && offering.has(connection),
    async start(runtime, host, connection, params) {
      const call: Call = {
        clientId: newId("call"),
        runtimeId: String(params.requestId),
        runtime,
        connection,
      };
      const open = [...byClientId.values()].filter((other) => other.connection === connection).length;
      if (open >= maxCalls) {
        fail(call, `The client already answers ${maxCalls} model calls.`);
        return {};
      }
      byClientId.set(call.clientId, call);
      byRuntime.set(key(runtime, params.requestId), call);
      const name =
        host.attachments.find((attachment) => attachment.connection === connection)?.name ?? host.name;
      try {
        return await ask(call, "llmInference.httpRequestStart", {
          ...params,
          requestId: call.clientId,
          sessionId: name,
        });
      } catch (error) {
        drop(call);
        fail(call, "The client that makes this session's model calls did not take one.");
        log.info(
          { session: host.row.id, connection: connection.id, error },
          "a client did not take a model call",
        );
        return {};
      }
    },
    chunk(runtime, params) {
      const call = byRuntime.get(key(runtime, params.requestId));
      if (call === undefined) return undefined;
      if (params.cancel === true) drop(call);
      return ask(call, "llmInference.httpRequestChunk", { ...params, requestId: call.clientId });
    },
    async answer(connection, method, params) {
      const call = byClientId.get(String(params.requestId));
      if (call === undefined || call.connection !== connection) return { accepted: false };
      if (params.end === true || isObject(params.error)) drop(call);
      const frame = await call.runtime.peer.request(
        method,
        { ...params, requestId: call.runtimeId },
        { timeoutMs: acceptWithinMs },
      );
      return new RawJson(frame.resultBytes());
    },
    forget(connection) {
      for (const call of byClientId.values()) {
        if (call.connection !== connection) continue;
        drop(call);
        fail(call, "The client that makes this session's model calls has gone.");
      }
    },
    runtimeClosed(runtime) {
      for (const call of byClientId.values()) if (call.runtime === runtime) drop(call);
    },
  };
};
