import { toSquadronError } from "../kernel/errors.ts";
import type { RpcErrorObject } from "./envelope.ts";

/** An error response that came from the other side; passed on as it is. */
export class RpcError extends Error {
  readonly code: number;
  readonly data: unknown;

  constructor(error: RpcErrorObject) {
    super(error.message);
    this.name = "RpcError";
    this.code = error.code;
    this.data = error.data;
  }
}

/**
 * What a failed request is answered with: an `RpcError` as it came, a `SquadronError` with its code and details
 * in `data`, anything else as `internal` with its text hidden.
 */
export const errorResponse = (error: unknown): RpcErrorObject => {
  if (error instanceof RpcError) {
    const { code, message, data } = error;
    return data === undefined ? { code, message } : { code, message, data };
  }
  const known = toSquadronError(error);
  return { code: known.rpcCode, message: known.message, data: { ...known.details, code: known.code } };
};
