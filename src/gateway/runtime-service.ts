import type { Runtime } from "../fleet/fleet.ts";
import { SquadronError } from "../kernel/errors.ts";
import { isObject } from "../kernel/json.ts";
import type { ModelGateway } from "../models/model-gateway.ts";
import type { Envelope } from "../wire/envelope.ts";
import type { PeerHandler } from "../wire/peer.ts";
import type { GatewayServices } from "./gateway-services.ts";
import type { TelemetryForwarding } from "./telemetry-forwarding.ts";
import type { SessionHost } from "./vocabulary.ts";

/** What a runtime may ask of us and tell us: each of its frames goes to the session that it names, if that is its own. */
export const createRuntimeService = (options: {
  readonly services: GatewayServices;
  readonly models: Pick<ModelGateway, "httpRequestStart" | "httpRequestChunk">;
  readonly telemetry: Pick<TelemetryForwarding, "told">;
}): ((runtime: Runtime) => PeerHandler) => {
  const { models, telemetry } = options;
  const { hosts, requests, inference, launchProviders, shells, connectionsOf, log } = options.services;

  /** The life of a session concerns only who may see it. Deletions we tell ourselves. */
  const lifecycle = (runtime: Runtime, frame: Envelope): void => {
    const params = frame.params();
    const id = frame.sessionId;
    const host = id === undefined ? undefined : hosts.find(id);
    if (
      host === undefined ||
      host.runtime !== runtime ||
      !isObject(params) ||
      params.type === "session.deleted" ||
      host.row.ephemeral
    )
      return;
    const { tenant, owner } = host.row;
    for (const { link } of connectionsOf({ tenant, user: owner }))
      link.notify("session.lifecycle", { ...params, sessionId: host.name });
    for (const { connection, founder, name } of host.attachments)
      if (!founder) connection.link.notify("session.lifecycle", { ...params, sessionId: name });
  };

  const sessionEvent = (runtime: Runtime, frame: Envelope): void => {
    const host = frame.sessionId === undefined ? undefined : hosts.find(frame.sessionId);
    if (host === undefined || host.runtime !== runtime) return;
    try {
      requests.observe(host.row.id, frame);
      host.event(frame);
    } catch (error) {
      log.error(
        { session: host.row.id, event: frame.eventType, error },
        "an event of a session was not handled",
      );
    }
  };

  /** The host of the session that a runtime's question names, if it is one of that runtime's. */
  const hostOf = (runtime: Runtime, params: unknown): SessionHost | undefined => {
    const host =
      isObject(params) && typeof params.sessionId === "string" ? hosts.find(params.sessionId) : undefined;
    return host?.runtime === runtime ? host : undefined;
  };

  const callback = async (runtime: Runtime, method: string, params: unknown): Promise<unknown> => {
    switch (method) {
      case "llmInference.httpRequestStart": {
        const host = hostOf(runtime, params);
        const caller = host?.inferenceBy;
        return host !== undefined && caller !== undefined && isObject(params)
          ? inference.start(runtime, host, caller, params)
          : models.httpRequestStart(runtime, params);
      }
      case "llmInference.httpRequestChunk":
        return (
          (isObject(params) ? inference.chunk(runtime, params) : undefined) ??
          models.httpRequestChunk(runtime, params)
        );
      case "extensionLaunchProvider.resolve":
        return launchProviders.resolve(runtime, params);
      case "gitHubToken.getToken": {
        const asked = isObject(params) ? params : {};
        const found = hosts
          .list()
          .filter((host) => host.runtime === runtime)
          .flatMap(({ attachments }) => attachments)
          .find(({ declarations }) => declarations.tokenProvider?.id === asked.registrationId);
        const provider = found?.declarations.tokenProvider;
        if (found === undefined || provider === undefined)
          throw new SquadronError(
            "credentials_needed",
            "The client that provides this GitHub token has gone.",
          );
        return found.connection.link.request(
          method,
          { ...asked, registrationId: provider.clientId },
          { timeoutMs: found.connection.policy.limits.callbackTimeoutMs },
        );
      }
    }
    const host = hostOf(runtime, params);
    if (host === undefined || !isObject(params)) {
      throw new SquadronError("session_not_found", `${method} names no session of this runtime.`);
    }
    return host.callback(method, params);
  };

  return (runtime) => ({
    request: async (frame) => callback(runtime, frame.method ?? "", frame.params()),
    notification: (frame) => {
      switch (frame.method) {
        case "session.event":
          return sessionEvent(runtime, frame);
        case "session.lifecycle":
          return lifecycle(runtime, frame);
        case "shell.output":
        case "shell.exit":
          return shells.told(runtime, frame);
        case "gitHubTelemetry.event":
          return telemetry.told(
            frame,
            hosts.list().filter((host) => host.runtime === runtime),
          );
      }
    },
  });
};
