/** The id of a JSON-RPC request. */
export type RpcId = string | number | null;

export interface RpcErrorObject {
  readonly code: number;
  readonly message: string;
  readonly data?: unknown;
}

/** One JSON-RPC message of which only the envelope has been looked at; everything else is parsed when asked for. */
export interface Envelope {
  readonly kind: "request" | "notification" | "result" | "error";
  /** The whole body as received. */
  readonly raw: Buffer;
  readonly id: RpcId | undefined;
  readonly method: string | undefined;
  /** `params.sessionId` when it is a string. */
  readonly sessionId: string | undefined;
  /** `params.event.type` when it is a string (what `session.event` carries). */
  readonly eventType: string | undefined;
  /** `params` parsed once; `undefined` when absent. */
  params(): unknown;
  /** `result` parsed once. */
  result(): unknown;
  /** The bytes of `result`, to be passed on as they are. */
  resultBytes(): Buffer;
  error(): RpcErrorObject | undefined;
  /** The body with `params.sessionId` replaced and every other byte the same. */
  withSessionId(sessionId: string): Buffer;
}
