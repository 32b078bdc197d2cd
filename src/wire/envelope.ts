import { isUtf8 } from "node:buffer";
import { SquadronError } from "../kernel/errors.ts";
import { isObject } from "../kernel/json.ts";
import { malformed, nameAt, scanObject, skipSpace, skipValue, stringAt, valueAt } from "./json-scan.ts";

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
  /** `params.event.id` when it is a string. */
  readonly eventId: string | undefined;
  /** Is `params.event.ephemeral` true? Such an event is in no history. */
  readonly ephemeral: boolean;
  /** `params` parsed once; `undefined` when absent or null. Throws `parse_error`. */
  params(): unknown;
  /** `result` parsed once; `undefined` unless `kind` is `result`. Throws `parse_error`. */
  result(): unknown;
  /**
   * The bytes of `result`, to be passed on as they are. Only their nesting has been checked: of a side that is not
   * trusted, call `result()` first, which throws if they are not JSON. Throws `invalid_frame` if there is no result.
   */
  resultBytes(): Buffer;
  error(): RpcErrorObject | undefined;
  /** The body with `params.sessionId` replaced and every other byte the same. Throws `invalid_frame` if it has none. */
  withSessionId(sessionId: string): Buffer;
  /** The bytes of `params.event`; `undefined` when it is not an object. */
  eventBytes(): Buffer | undefined;
}

interface Range {
  readonly start: number;
  readonly end: number;
}

/** Where the members that matter stand; a name twice is refused, as parsers differ in which one they take. */
interface Layout {
  id: Range | undefined;
  method: Range | undefined;
  params: Range | undefined;
  result: Range | undefined;
  error: Range | undefined;
  sessionId: Range | undefined;
  event: Range | undefined;
  type: Range | undefined;
  eventId: Range | undefined;
  ephemeral: Range | undefined;
}

/** All members are there from the beginning: an object that keeps its shape is several times faster. */
const emptyLayout = (): Layout => ({
  id: undefined,
  method: undefined,
  params: undefined,
  result: undefined,
  error: undefined,
  sessionId: undefined,
  event: undefined,
  type: undefined,
  eventId: undefined,
  ephemeral: undefined,
});

const messageNames = ["id", "method", "params", "result", "error"] as const;
const paramsNames = ["sessionId", "event"] as const;
const eventNames = ["type", "id", "ephemeral"] as const;

const quote = 0x22;
const openBrace = 0x7b;
const openBracket = 0x5b;

/**
 * Reads the envelope of one message without building the rest. Throws `parse_error` for bytes that are not UTF-8 or,
 * as far as they are looked at, not JSON; `invalid_frame` for what is JSON but no single JSON-RPC message: a batch,
 * members of a wrong type, ambiguous (doubled) members, nesting deeper than the runtime's parser takes.
 */
export const readEnvelope = (body: Buffer): Envelope => {
  if (!isUtf8(body)) throw malformed("it is not UTF-8");
  const start = skipSpace(body, 0);
  if (body[start] === openBracket) throw invalid("Batches are not supported.");
  if (body[start] !== openBrace) {
    skipValue(body, start, 1);
    throw invalid("A message must be an object.");
  }
  const layout = emptyLayout();
  if (skipSpace(body, scanMessage(body, start, layout)) < body.length)
    throw malformed("something follows its end");
  return new ScannedMessage(body, layout);
};

const invalid = (message: string): SquadronError => new SquadronError("invalid_frame", message);

const note = (layout: Layout, name: keyof Layout, start: number, end: number): number => {
  if (layout[name] !== undefined) throw invalid(`A message has two members "${name}".`);
  layout[name] = { start, end };
  return end;
};

const scanMessage = (body: Buffer, at: number, layout: Layout): number =>
  scanObject(body, at, (keyStart, keyEnd, start) => {
    const name = nameAt(body, keyStart, keyEnd, messageNames);
    const isParams = name === "params" && body[start] === openBrace;
    const end = isParams ? scanParams(body, start, layout) : skipValue(body, start, 2);
    return name === undefined ? end : note(layout, name, start, end);
  });

const scanParams = (body: Buffer, at: number, layout: Layout): number =>
  scanObject(body, at, (keyStart, keyEnd, start) => {
    const name = nameAt(body, keyStart, keyEnd, paramsNames);
    const isEvent = name === "event" && body[start] === openBrace;
    const end = isEvent ? scanEvent(body, start, layout) : skipValue(body, start, 3);
    return name === undefined ? end : note(layout, name, start, end);
  });

const scanEvent = (body: Buffer, at: number, layout: Layout): number =>
  scanObject(body, at, (keyStart, keyEnd, start) => {
    const end = skipValue(body, start, 4);
    const name = nameAt(body, keyStart, keyEnd, eventNames);
    if (name === undefined) return end;
    return note(layout, name === "id" ? "eventId" : name, start, end);
  });

/** Absent and null are the same to some SDKs where a member is optional; only null begins with an n. */
const present = (body: Buffer, range: Range | undefined): Range | undefined =>
  range !== undefined && body[range.start] !== 0x6e ? range : undefined;

const textAt = (body: Buffer, range: Range | undefined): string | undefined =>
  range !== undefined && body[range.start] === quote ? stringAt(body, range.start, range.end) : undefined;

/** A class because one is made for every frame: methods are shared, closures would not be. */
class ScannedMessage implements Envelope {
  readonly kind: Envelope["kind"];
  readonly raw: Buffer;
  readonly id: RpcId | undefined;
  readonly method: string | undefined;
  readonly sessionId: string | undefined;
  readonly eventType: string | undefined;
  readonly eventId: string | undefined;
  readonly ephemeral: boolean;
  private readonly layout: Layout;
  /** `params`, `result` or `error`, whichever was asked for: parsed once. */
  private parsed: { readonly range: Range; readonly value: unknown } | undefined;

  constructor(body: Buffer, layout: Layout) {
    this.kind = kindOf(body, layout);
    this.raw = body;
    this.id = layout.id && rpcId(body, layout.id);
    this.method = textAt(body, layout.method);
    this.sessionId = textAt(body, layout.sessionId);
    this.eventType = textAt(body, layout.type);
    this.eventId = textAt(body, layout.eventId);
    this.ephemeral = layout.ephemeral !== undefined && body[layout.ephemeral.start] === 0x74;
    this.layout = layout;
    this.parsed = undefined;
  }

  params(): unknown {
    return this.value(present(this.raw, this.layout.params));
  }

  result(): unknown {
    return this.kind === "result" ? this.value(this.layout.result) : undefined;
  }

  resultBytes(): Buffer {
    const range = this.layout.result;
    if (this.kind !== "result" || range === undefined) throw invalid("The message has no result.");
    return this.raw.subarray(range.start, range.end);
  }

  error(): RpcErrorObject | undefined {
    return this.kind === "error" ? errorObject(this.value(this.layout.error)) : undefined;
  }

  withSessionId(sessionId: string): Buffer {
    const range = this.layout.sessionId;
    if (range === undefined || this.raw[range.start] !== quote)
      throw invalid("The message has no params.sessionId.");
    const replacement = Buffer.from(JSON.stringify(sessionId));
    return Buffer.concat([this.raw.subarray(0, range.start), replacement, this.raw.subarray(range.end)]);
  }

  eventBytes(): Buffer | undefined {
    const range = this.layout.event;
    return range !== undefined && this.raw[range.start] === openBrace
      ? this.raw.subarray(range.start, range.end)
      : undefined;
  }

  private value(range: Range | undefined): unknown {
    if (range === undefined) return undefined;
    if (this.parsed?.range !== range)
      this.parsed = { range, value: valueAt(this.raw, range.start, range.end) };
    return this.parsed.value;
  }
}

const kindOf = (body: Buffer, layout: Layout): Envelope["kind"] => {
  const first = (range: Range): number | undefined => body[range.start];
  const { id, method, params } = layout;
  const result = present(body, layout.result);
  const error = present(body, layout.error);
  if (method !== undefined) {
    if (first(method) !== quote) throw invalid("A message's method must be a string.");
    if (result !== undefined || error !== undefined)
      throw invalid("A message cannot be both request and response.");
    if (
      params !== undefined &&
      present(body, params) &&
      first(params) !== openBrace &&
      first(params) !== openBracket
    ) {
      throw invalid("A message's params must be an object or an array.");
    }
    if (id === undefined) return "notification";
    if (present(body, id) === undefined) throw invalid("A request's id must not be null.");
    return "request";
  }
  if (id === undefined) throw invalid("A message needs a method or an id.");
  if (error !== undefined) {
    if (result !== undefined) throw invalid("A response cannot have both a result and an error.");
    if (first(error) !== openBrace) throw invalid("A response's error must be an object.");
    return "error";
  }
  if (layout.result === undefined) throw invalid("A message needs a method, a result or an error.");
  if (present(body, id) === undefined) throw invalid("A result's id must not be null.");
  return "result";
};

/** Strings and whole numbers that survive being parsed and written again; the runtime takes no others either. */
const rpcId = (body: Buffer, range: Range): RpcId => {
  const first = body[range.start];
  if (first === quote) return stringAt(body, range.start, range.end);
  const id = first === openBrace || first === openBracket ? undefined : valueAt(body, range.start, range.end);
  if (id === null || (typeof id === "number" && Number.isSafeInteger(id))) return id;
  throw invalid("A message's id must be a string or a whole number below 2^53.");
};

const errorObject = (value: unknown): RpcErrorObject => {
  if (!isObject(value) || typeof value.code !== "number" || typeof value.message !== "string") {
    throw invalid("A response's error needs a numeric code and a message.");
  }
  const { code, message, data } = value;
  return data === undefined ? { code, message } : { code, message, data };
};
