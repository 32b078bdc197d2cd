import { directoryMethods, type LocalAnswer } from "./directory-methods.ts";
import { listModels } from "./list-models.ts";
import { manySessionsMethods } from "./many-sessions.ts";
import { createSession, resumeSession } from "./opening.ts";

/** The protocol that we speak, the same as the runtime's. */
export const protocolVersion = 3;

/** What the node answers itself: whatever speaks about the whole runtime, and the life of sessions. */
export const localMethods: Readonly<Record<string, LocalAnswer>> = {
  ...directoryMethods,
  ...manySessionsMethods,
  ping: async ({ clock }, _connection, { message }) => ({
    message: `pong: ${typeof message === "string" ? message : ""}`,
    timestamp: new Date(clock.now()).toISOString(),
    protocolVersion,
  }),
  "status.get": async ({ runtimeVersion }) => ({ version: runtimeVersion, protocolVersion }),
  "auth.getStatus": async (_services, { principal }) => ({
    isAuthenticated: true,
    authType: "token",
    login: principal.user,
    statusMessage: `Signed in to Squadron as ${principal.user} of ${principal.tenant}`,
  }),
  "models.list": listModels,
  "llmInference.setProvider": async ({ inference }, connection) => {
    inference.offer(connection);
    return { success: true };
  },
  "llmInference.httpResponseStart": ({ inference }, connection, params) =>
    inference.answer(connection, "llmInference.httpResponseStart", params),
  "llmInference.httpResponseChunk": ({ inference }, connection, params) =>
    inference.answer(connection, "llmInference.httpResponseChunk", params),
  registerExtensionLaunchProvider: async ({ launchProviders }, connection) => {
    launchProviders.offer(connection);
    return null;
  },
  "session.create": createSession,
  "session.resume": resumeSession,
};
