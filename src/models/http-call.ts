import type { Dispatcher } from "undici";
import { SquadronError } from "../kernel/errors.ts";
import { RpcError } from "../wire/rpc-error.ts";
import { judge } from "./allow.ts";
import type { Answer } from "./answer.ts";
import { failureOf, isCancelled } from "./failure.ts";
import type { ModelGrant, ModelLog, Usage } from "./grant.ts";
import type { RequestStart } from "./protocol.ts";
import { type ResolvedRoute, responseHeaders, upstreamHeaders } from "./route.ts";
import { errorBody, redacted, scrubbedError } from "./scrub.ts";
import { createStreamScrubber } from "./stream-scrub.ts";
import type { Upstream } from "./upstream.ts";
import { createUsageMeter } from "./usage.ts";

/** Of a provider's error text, this much is read. */
const maxErrorBytes = 64 * 1024;

/**
 * The runtime shows what a piece brings only when it has taken all of it: of a burst, the first words go ahead.
 * Each further piece is larger by this factor, for each costs a round trip.
 */
const firstPieceBytes = 512;
const pieceGrowth = 4;

/** What a call of either transport works with. */
export interface CallContext {
  readonly start: RequestStart;
  readonly grant: ModelGrant;
  readonly resolved: ResolvedRoute;
  readonly answer: Answer;
  readonly signal: AbortSignal;
  readonly upstream: Upstream;
  readonly log: ModelLog;
  readonly onUsage: (usage: Usage) => void;
}

const readSome = async (body: Dispatcher.ResponseData["body"]): Promise<string> => {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of body) {
    parts.push(part);
    bytes += part.length;
    if (bytes >= maxErrorBytes) break;
  }
  return Buffer.concat(parts).toString("utf8", 0, maxErrorBytes);
};

const passError = async (context: CallContext, response: Dispatcher.ResponseData) => {
  const { route } = context.resolved;
  const { statusCode: status } = response;
  const text = await readSome(response.body);
  const sent = (route.passCredentials ?? []).flatMap((name) => context.start.headers[name] ?? []);
  const known = [...Object.values(route.headers).map((secret) => secret.reveal()), ...sent];
  context.log.warn(
    { session: context.start.sessionId, status, providerError: redacted(text, known) },
    "A model provider answered with an error.",
  );
  const { "content-type": _, "content-encoding": __, ...headers } = responseHeaders(route, response.headers);
  await context.answer.json(status, scrubbedError(status, text), headers);
};

const passAnswer = async (context: CallContext, response: Dispatcher.ResponseData, model: string) => {
  const { answer, onUsage } = context;
  const contentType = String(response.headers["content-type"] ?? "");
  const meter = createUsageMeter(model, contentType);
  const scrubs = contentType.startsWith("text/event-stream") && !context.resolved.route.verbatim;
  const scrubber = scrubs ? createStreamScrubber() : undefined;
  try {
    await answer.start(response.statusCode, responseHeaders(context.resolved.route, response.headers));
    let pieceBytes = firstPieceBytes;
    const pass = async (bytes: Buffer): Promise<void> => {
      for (let at = 0; at < bytes.length; pieceBytes *= pieceGrowth) {
        const piece = bytes.subarray(at, at + pieceBytes);
        await answer.write(piece);
        at += piece.length;
      }
    };
    // The next bytes are read only when the runtime has taken these: its pace is the provider's.
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      meter.push(chunk);
      await pass(scrubber?.push(chunk) ?? chunk);
    }
    if (scrubber !== undefined) await pass(scrubber.end());
    await answer.end();
  } finally {
    // A cut answer has been paid for as well.
    const usage = meter.take();
    if (usage !== undefined) onUsage(usage);
    response.body.destroy();
  }
};

/** Makes the call and passes the answer on. What fails is told to the runtime and logged; rejects when that fails. */
export const runHttpCall = async (context: CallContext, body: Buffer): Promise<void> => {
  const { start, grant, resolved, answer, signal, upstream, log } = context;
  try {
    const verdict = judge(grant, { method: start.method, body, resolved });
    if (verdict.kind === "denied") {
      log.info({ session: start.sessionId }, verdict.message);
      // Not 403: the runtime turns that into advice about its own API key and hides the message.
      return await answer.json(400, errorBody("model_denied", verdict.message));
    }
    const response = await upstream.request({
      target: resolved.target,
      method: start.method,
      headers: upstreamHeaders(resolved.route, start.headers),
      body,
      signal,
    });
    // A body that is left unread tells its end as an error too, and with nobody listening that would end the node.
    response.body.on("error", () => undefined);
    const failed = response.statusCode >= 300;
    await (failed && !resolved.route.verbatim
      ? passError(context, response)
      : passAnswer(context, response, verdict.model));
  } catch (error) {
    if (isCancelled(error, signal)) return;
    // Of the pipe and not of the provider: the runtime will not take word of it either.
    if (error instanceof SquadronError || error instanceof RpcError) throw error;
    const failure = failureOf(error);
    log.warn({ session: start.sessionId, failure: failure.code, cause: failure.cause }, failure.message);
    await answer.fail(failure.code, failure.message);
  }
};
