import * as z from "zod";
import { SquadronError } from "../kernel/errors.ts";

const start = z.object({
  requestId: z.string().min(1).max(200),
  sessionId: z.string().optional(),
  method: z.string().regex(/^[A-Za-z]{1,20}$/),
  url: z.string().max(16_384),
  headers: z.record(z.string(), z.array(z.string())),
  transport: z.enum(["http", "websocket"]).default("http"),
});

const chunk = z.object({
  requestId: z.string().min(1).max(200),
  data: z.string(),
  binary: z.boolean().default(false),
  end: z.boolean().default(false),
  cancel: z.boolean().default(false),
});

/** The head of a model call (`llmInference.httpRequestStart`). */
export type RequestStart = z.infer<typeof start>;
/** A piece of its body, a websocket message, its end or its cancellation (`llmInference.httpRequestChunk`). */
export type RequestChunk = z.infer<typeof chunk>;
/** Headers as the hook carries them: lowercase name to all values. */
export type HeaderLists = Readonly<Record<string, readonly string[]>>;

const parse = <T>(schema: z.ZodType<T>, params: unknown, what: string): T => {
  const parsed = schema.safeParse(params);
  if (parsed.success) return parsed.data;
  throw new SquadronError("invalid_request", `${what} has an unexpected shape.`, { cause: parsed.error });
};

/** Throws `invalid_request`. */
export const parseRequestStart = (params: unknown): RequestStart => parse(start, params, "httpRequestStart");

/** Throws `invalid_request`. */
export const parseRequestChunk = (params: unknown): RequestChunk => parse(chunk, params, "httpRequestChunk");

/** The bytes of a chunk: UTF-8 text or base64. */
export const chunkBytes = (frame: RequestChunk): Buffer =>
  Buffer.from(frame.data, frame.binary ? "base64" : "utf8");
