import { STATUS_CODES } from "node:http";
import type { FastifyReply, FastifyRequest } from "fastify";
import { hasZodFastifySchemaValidationErrors } from "fastify-type-provider-zod";
import { SquadronError, toSquadronError } from "../kernel/errors.ts";
import type { Log } from "../telemetry/log.ts";
import { RpcError } from "../wire/rpc-error.ts";

const problemType = "application/problem+json; charset=utf-8";

/** Seconds after which it may be worth trying again, by status. */
const retryAfter: Readonly<Record<number, number>> = { 429: 1, 503: 2 };

/** Names the field as a client wrote it: `attachments.0.data`; an unknown key by its name. */
const invalidFields = (
  validation: readonly { readonly instancePath: string; readonly params: Record<string, unknown> }[],
): readonly string[] =>
  validation.flatMap(({ instancePath, params }) => {
    const path = instancePath.split("/").filter((step) => step !== "");
    const keys = Array.isArray(params.keys) ? params.keys.map(String) : undefined;
    return keys === undefined ? [path.join(".")] : keys.map((key) => [...path, key].join("."));
  });

const invalidRequest = (
  message: string,
  place: string | undefined,
  validation: Parameters<typeof invalidFields>[0],
): SquadronError => {
  const [field = "", ...others] = invalidFields(validation);
  return new SquadronError("invalid_request", field === "" ? message : `${field}: ${message}`, {
    details: { in: place ?? "body", field, ...(others.length > 0 && { fields: [field, ...others] }) },
  });
};

const frameworkError = (status: number, code: string, message: string): SquadronError | undefined => {
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE")
    return new SquadronError("too_large", "The body of the request is too large.");
  if (code === "FST_ERR_CTP_INVALID_JSON_BODY")
    return new SquadronError("parse_error", "The body of the request is not JSON.");
  // Neither curl nor fetch says it by itself.
  if (code === "FST_ERR_CTP_INVALID_MEDIA_TYPE") {
    return new SquadronError(
      "invalid_request",
      "The body must be JSON and say so: add the header Content-Type: application/json (curl: -H 'Content-Type: application/json').",
    );
  }
  return status >= 400 && status < 500 ? new SquadronError("invalid_request", message) : undefined;
};

/** Any failure of a request as one of ours. A runtime's own error keeps its message. */
export const knownError = (error: unknown): SquadronError => {
  if (error instanceof SquadronError) return error;
  if (error instanceof RpcError) {
    return new SquadronError("upstream_error", error.message, {
      details: { rpcCode: error.code },
      cause: error,
    });
  }
  if (hasZodFastifySchemaValidationErrors(error)) {
    return invalidRequest(
      error.validation[0]?.message ?? "It is not valid.",
      error.validationContext,
      error.validation,
    );
  }
  if (error instanceof Error && "statusCode" in error && "code" in error) {
    const known = frameworkError(Number(error.statusCode), String(error.code), error.message);
    if (known !== undefined) return known;
  }
  return toSquadronError(error);
};

/** The body of an error response (RFC 9457). */
export const problemOf = (
  error: SquadronError,
  request: Pick<FastifyRequest, "id" | "url">,
): Record<string, unknown> => ({
  type: `/docs#error-${error.code}`,
  title: STATUS_CODES[error.httpStatus] ?? "Client Closed Request",
  status: error.httpStatus,
  detail: error.message,
  code: error.code,
  details: error.details,
  instance: request.url.split("?", 1)[0],
  requestId: request.id,
});

/** Answers with the error, and writes its cause to the log when it is our own failure. */
export const sendProblem = (
  log: Log,
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply => {
  const known = knownError(error);
  if (known.code === "internal")
    log.error({ request: request.id, error: known.cause ?? known }, "an http request failed");
  const status = known.httpStatus;
  const told = known.details.retryAfter;
  // No wait makes room in a quota.
  const usual = known.code === "quota_exceeded" ? undefined : retryAfter[status];
  const seconds = typeof told === "number" ? told : usual;
  if (seconds !== undefined) reply.header("retry-after", String(seconds));
  if (status === 401) reply.header("www-authenticate", 'Bearer realm="squadron"');
  return reply
    .code(status)
    .header("content-type", problemType)
    .send(JSON.stringify(problemOf(known, request)));
};
