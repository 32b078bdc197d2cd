import { createHmac } from "node:crypto";
import type { Secret } from "../kernel/secret.ts";

/** What a request is signed with and for: the scheme of Standard Webhooks (standardwebhooks.com), version 1. */
export interface Signing {
  /** `whsec_` and base64. */
  readonly secret: Secret;
  /** The same for a retry of the same request. */
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly body: string;
}

/** The three headers by which a receiver knows that the request is ours, whole and recent. */
export const signatureHeaders = ({ secret, id, now, body }: Signing): Record<string, string> => {
  const key = Buffer.from(secret.reveal().replace(/^whsec_/, ""), "base64");
  const timestamp = String(Math.floor(now / 1000));
  const signature = createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64");
  return { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": `v1,${signature}` };
};
