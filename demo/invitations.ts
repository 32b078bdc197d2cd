import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { SquadronError } from "../src/kernel/errors.ts";

/** The demo's web service: a tool for the model that does nothing, and says so. */
export interface Invitations {
  /** As the configuration names it, in `defaults.httpSessions.tools`. */
  readonly tool: Readonly<Record<string, unknown>>;
  close(): Promise<void>;
}

/** Starts it on a free port of 127.0.0.1. */
export const startInvitations = async (): Promise<Invitations> => {
  const server = createServer((request, response) => {
    request.resume().once("end", () => response.end("Sent to nobody: this is a demo."));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string")
    throw new SquadronError("internal", "The demo's tool listens on no TCP port.");
  return {
    tool: {
      name: "send_invitations",
      description: "Sends an invitation by mail.",
      parameters: {
        type: "object",
        properties: { to: { type: "string" }, subject: { type: "string" } },
        required: ["to", "subject"],
      },
      needsPermission: true,
      webhook: {
        url: `http://127.0.0.1:${address.port}/`,
        secret: `whsec_${randomBytes(32).toString("base64")}`,
      },
    },
    close: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
};
