import { createHash } from "node:crypto";
import type { FastifyRequest } from "fastify";
import { SquadronError } from "../kernel/errors.ts";
import { isObject } from "../kernel/json.ts";
import { KeyUsed } from "../sessions/key-used.ts";
import type { RequestKey, RequestKeyUse } from "../store/store.ts";
import { callerOf } from "./caller.ts";
import type { HttpContext } from "./context.ts";

/** Says that an answer is that of an earlier request with the same key. */
export const replayedHeader = "idempotent-replayed";

const keyForm = /^[\x21-\x7e]{1,255}$/;

/** The same text for the same content, in whatever order its fields came. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_name, part: unknown) =>
    isObject(part) ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))) : part,
  );

/**
 * The request's `Idempotency-Key`, if it has one. How it wants to be answered (`?wait`, a stream) is no part of what it
 * asks. Throws `invalid_request`.
 */
export const requestKeyOf = (
  { clock, idempotencyTtlMs }: Pick<HttpContext, "clock" | "idempotencyTtlMs">,
  request: FastifyRequest,
): RequestKey | undefined => {
  const given = request.headers["idempotency-key"];
  if (given === undefined) return undefined;
  if (typeof given !== "string" || !keyForm.test(given))
    throw new SquadronError(
      "invalid_request",
      "An Idempotency-Key is 1 to 255 visible ASCII characters without spaces.",
      { details: { parameter: "Idempotency-Key" } },
    );
  const { tenant, user } = callerOf(request).principal;
  const [path] = request.url.split("?", 1);
  const hash = createHash("sha256")
    .update(canonical([request.method, path, request.body]))
    .digest("base64url");
  const at = clock.now();
  return { tenant, user, key: given, hash, at, notBefore: at - idempotencyTtlMs };
};

/**
 * Does what a request asks, unless one with its key has been served: then `again` answers from what has come of that.
 * Rejects with `unprocessable` when the earlier one asked for something else.
 */
export const once = async <T>(
  { store }: Pick<HttpContext, "store">,
  key: RequestKey | undefined,
  serve: () => Promise<T>,
  again: (use: RequestKeyUse) => Promise<T>,
): Promise<T> => {
  if (key === undefined) return serve();
  for (;;) {
    const use = await store.requestKeys.find(key);
    if (use !== undefined && use.hash !== key.hash)
      throw new SquadronError(
        "unprocessable",
        "This Idempotency-Key has been used for another request; give each request a key of its own.",
        { details: { parameter: "Idempotency-Key" } },
      );
    if (use !== undefined) return again(use);
    try {
      return await serve();
    } catch (error) {
      // Another one with the same key was faster.
      if (!(error instanceof KeyUsed)) throw error;
    }
  }
};
