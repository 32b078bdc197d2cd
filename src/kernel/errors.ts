/**
 * The one table of errors. Every failure that leaves the node is a `SquadronError` with a code from here;
 * the code is the same on HTTP (problem+json `code`) and on the SDK port (JSON-RPC `error.data.code`).
 */
const table = {
  invalid_request: { http: 400, rpc: -32602 },
  parse_error: { http: 400, rpc: -32700 },
  invalid_frame: { http: 400, rpc: -32600 },
  unauthenticated: { http: 401, rpc: -32001 },
  method_denied: { http: 403, rpc: -32003 },
  parameter_denied: { http: 403, rpc: -32003 },
  forbidden: { http: 403, rpc: -32003 },
  model_denied: { http: 403, rpc: -32003 },
  method_unknown: { http: 404, rpc: -32601 },
  not_found: { http: 404, rpc: -32004 },
  invite_invalid: { http: 404, rpc: -32004 },
  session_not_found: { http: 404, rpc: -32004 },
  name_taken: { http: 409, rpc: -32009 },
  busy: { http: 409, rpc: -32009 },
  request_settled: { http: 409, rpc: -32009 },
  session_deleted: { http: 410, rpc: -32010 },
  too_large: { http: 413, rpc: -32013 },
  unprocessable: { http: 422, rpc: -32602 },
  credentials_needed: { http: 422, rpc: -32022 },
  rate_limited: { http: 429, rpc: -32029 },
  quota_exceeded: { http: 429, rpc: -32029 },
  queue_full: { http: 429, rpc: -32029 },
  turn_failed: { http: 502, rpc: -32052 },
  upstream_error: { http: 502, rpc: -32603 },
  runtime_gone: { http: 503, rpc: -32053 },
  runtime_start_failed: { http: 503, rpc: -32053 },
  fenced: { http: 503, rpc: -32053 },
  held_elsewhere: { http: 503, rpc: -32053 },
  no_capacity: { http: 503, rpc: -32053 },
  draining: { http: 503, rpc: -32053 },
  store_unavailable: { http: 503, rpc: -32053 },
  connection_closed: { http: 503, rpc: -32054 },
  slow_consumer: { http: 503, rpc: -32054 },
  turn_timeout: { http: 504, rpc: -32055 },
  timeout: { http: 504, rpc: -32055 },
  cancelled: { http: 499, rpc: -32056 },
  turn_interrupted: { http: 503, rpc: -32057 },
  turn_aborted: { http: 409, rpc: -32058 },
  config_invalid: { http: 500, rpc: -32603 },
  internal: { http: 500, rpc: -32603 },
} as const satisfies Record<string, { http: number; rpc: number }>;

export type ErrorCode = keyof typeof table;

/** Facts that a client may see beside the message: field names, limits, seconds to wait. Never secrets or foreign names. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null | readonly string[]>>;

export class SquadronError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, options: { details?: ErrorDetails; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "SquadronError";
    this.code = code;
    this.details = options.details ?? {};
  }

  get httpStatus(): number {
    return table[this.code].http;
  }

  get rpcCode(): number {
    return table[this.code].rpc;
  }
}

/** Every code with its HTTP status and JSON-RPC code, for the documentation and the OpenAPI document. */
export const errorTable: Readonly<Record<ErrorCode, { readonly http: number; readonly rpc: number }>> = table;

/** The error itself if it is ours, else `internal` with the original as cause; the original's text is not repeated. */
export const toSquadronError = (error: unknown): SquadronError =>
  error instanceof SquadronError
    ? error
    : new SquadronError("internal", "The node failed to handle this; its log has the reason.", {
        cause: error,
      });
