import { SquadronError } from "../src/kernel/errors.ts";
import { isObject } from "../src/kernel/json.ts";
import type { Conversation, Usage } from "./script.ts";

/** What a reply consisted of, once it is complete. */
export interface Reply {
  readonly id: string;
  readonly model: string;
  readonly text: string;
  readonly call: { readonly id: string; readonly tool: string; readonly args: string } | undefined;
  readonly usage: Usage;
}

/** The text of a streamed reply as server-sent events. */
export interface ReplyStream {
  start(): string;
  chunk(text: string): string;
  end(reply: Reply): string;
}

/** One of the wire formats that model providers speak. */
export interface WireFormat {
  /** Throws `invalid_request` when the body is not a request of this format. */
  read(body: unknown): Conversation;
  /** The reply in one piece. */
  whole(reply: Reply): unknown;
  stream(id: string, model: string): ReplyStream;
}

/** The body as an object with a model; throws `invalid_request`. */
export const requestOf = (body: unknown): Record<string, unknown> & { model: string } => {
  if (!isObject(body) || typeof body.model !== "string")
    throw new SquadronError("invalid_request", "The body must be a JSON object with a model.");
  return { ...body, model: body.model };
};

/** The text of a message's content, which is a string or a list of parts. */
export const textOf = (content: unknown): string => {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part) => (isObject(part) && typeof part.text === "string" ? part.text : "")).join("");
};

/** The names of the function tools that a request offers. */
export const toolNames = (tools: unknown): string[] =>
  (Array.isArray(tools) ? tools : []).flatMap((tool) => {
    if (!isObject(tool)) return [];
    const named = isObject(tool.function) ? tool.function : tool;
    return typeof named.name === "string" ? [named.name] : [];
  });
