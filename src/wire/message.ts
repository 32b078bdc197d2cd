import type { RpcErrorObject, RpcId } from "./envelope.ts";
import { RawJson } from "./raw-json.ts";

/** The text of a message, in parts, so that what is already serialised is copied only into the frame. */
export type MessageParts = readonly (string | Buffer)[];

export const requestMessage = (id: number, method: string, params: unknown): MessageParts =>
  withParams(`{"jsonrpc":"2.0","id":${id},"method":${serialise(method)}`, params);

export const notificationMessage = (method: string, params: unknown): MessageParts =>
  withParams(`{"jsonrpc":"2.0","method":${serialise(method)}`, params);

export const resultMessage = (id: RpcId, result: unknown): MessageParts => [
  `{"jsonrpc":"2.0","id":${serialise(id)},"result":`,
  valueText(result ?? null),
  "}",
];

export const errorMessage = (id: RpcId, error: RpcErrorObject): MessageParts => [
  `{"jsonrpc":"2.0","id":${serialise(id)},"error":${serialise(error)}}`,
];

const withParams = (head: string, params: unknown): MessageParts =>
  params === undefined ? [head, "}"] : [`${head},"params":`, valueText(params), "}"];

const valueText = (value: unknown): string | Buffer =>
  value instanceof RawJson ? value.bytes : serialise(value);

/**
 * JSON text with U+FFFD for every lone surrogate. JSON.stringify writes those as escapes, and the runtime answers
 * a frame that has one without an id: the request would hang.
 */
const serialise = (value: unknown): string => {
  const text: string | undefined = JSON.stringify(value);
  if (text === undefined) throw new TypeError(`A ${typeof value} has no JSON form.`);
  if (!text.includes("\\ud")) return text;
  return text.replace(/\\(?:\\|ud[89a-f][0-9a-f]{2})/g, (found) => (found === "\\\\" ? found : "\ufffd"));
};
