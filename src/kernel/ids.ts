import { randomBytes, randomUUID } from "node:crypto";

/** A random id with a readable prefix, 128 bits, `[a-z0-9_]`: `ses_4f…`. Never derived from names. */
export const newId = (prefix: string): string => `${prefix}_${randomBytes(16).toString("hex")}`;

/** A random UUID, the form that runtimes and SDKs use for sessions and messages. */
export const newUuid = (): string => randomUUID();
