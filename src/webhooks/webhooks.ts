import type { Dispatcher } from "undici";
import type { ModelsConfig } from "../config/config.ts";
import type { Webhook } from "../config/http-sessions.ts";
import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { JsonObject } from "../kernel/json.ts";
import { formatDuration, formatSize } from "../kernel/units.ts";
import { type Failure, failureOf } from "../models/failure.ts";
import { redacted } from "../models/scrub.ts";
import { createUpstream, type Upstream } from "../models/upstream.ts";
import type { Log } from "../telemetry/log.ts";
import { type AnsweringServers, createAnsweringServers } from "./answering-servers.ts";
import { signatureHeaders } from "./signature.ts";

/** What a webhook is asked. */
export interface WebhookCall {
  readonly webhook: Webhook;
  /** The request's name: whoever has answered it already may answer the same again. */
  readonly id: string;
  readonly content: JsonObject;
  readonly signal: AbortSignal;
  /** Facts for the log. */
  readonly about: Readonly<Record<string, unknown>>;
}

/** `text`: what the web service says. `problem`: why there is none, in words for a model, which name no address and no secret. */
export type WebhookAnswer = { readonly text: string } | { readonly problem: string };

/** Asks the operator's web services, each request signed. */
export interface Webhooks {
  /** Which of the operator's MCP servers can be asked. */
  readonly answering: AnsweringServers;
  /** Rejects with `cancelled` when the signal aborts; whatever else goes wrong is an answer. */
  ask(call: WebhookCall): Promise<WebhookAnswer>;
  close(): Promise<void>;
}

const maxRequestBytes = 2 ** 20;
const maxAnswerBytes = 2 ** 20;
const maxLoggedBytes = 2_048;
/** Shorter ones are words of their own; nobody would know the answer again without them. */
const shortestSecret = 8;

const unreachable: Readonly<Record<Failure["code"], string>> = {
  provider_unreachable: "The tool's web service cannot be reached.",
  provider_untrusted: "The tool's web service cannot be reached safely.",
  provider_silent: "The tool's web service did not answer.",
  provider_connection_lost: "The connection to the tool's web service was lost.",
};

/** The first bytes of a body; what is beyond is not read. */
const read = async (
  body: AsyncIterable<Buffer>,
  most: number,
): Promise<{ readonly bytes: Buffer; readonly whole: boolean }> => {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of body) {
    parts.push(part);
    length += part.length;
    if (length > most) break;
  }
  return { bytes: Buffer.concat(parts).subarray(0, most), whole: length <= most };
};

const textOf = (bytes: Buffer): string | undefined => {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
};

/** Each as it is sent, and without the word in front of it. */
const secretsOf = ({ secret, headers }: Webhook): readonly string[] =>
  [secret, ...Object.values(headers)]
    .map((one) => one.reveal())
    .flatMap((value) => [value, value.replace(/^(Bearer|Basic) /i, "")])
    .filter(({ length }) => length >= shortestSecret);

/** A web service that repeats what it was sent would show it to the model. */
const withoutSecrets = (text: string, secrets: readonly string[]): string =>
  secrets.reduce((left, secret) => left.replaceAll(secret, "[secret]"), text);

/** Throws `config_invalid` when a certificate file cannot be read. */
export const createWebhooks = (options: {
  readonly config: ModelsConfig;
  readonly clock: Clock;
  readonly log: Log;
  readonly environment: NodeJS.ProcessEnv;
}): Webhooks => {
  const { clock, log } = options;
  // Once more, and only when nothing can have been received.
  const upstream: Upstream = createUpstream({ ...options, config: { ...options.config, retries: 1 } });

  const answerIn = async (
    { webhook, about }: WebhookCall,
    { statusCode, body }: Dispatcher.ResponseData,
  ): Promise<WebhookAnswer> => {
    // A body that is left unread tells its end as an error too, and with nobody listening that would end the node.
    body.on("error", () => undefined);
    try {
      const secrets = secretsOf(webhook);
      if (statusCode < 200 || statusCode >= 300) {
        const said = (await read(body, maxLoggedBytes)).bytes.toString("utf8");
        log.warn(
          { ...about, status: statusCode, said: redacted(said, secrets) },
          "a webhook answered with an error",
        );
        return {
          problem:
            statusCode < 400
              ? `The tool's web service answered with status ${statusCode}, which leads elsewhere and is not followed.`
              : `The tool's web service failed with status ${statusCode}.`,
        };
      }
      const { bytes, whole } = await read(body, maxAnswerBytes);
      const text = whole ? textOf(bytes) : undefined;
      if (text !== undefined) return { text: withoutSecrets(text, secrets) };
      const problem = whole
        ? "The tool's answer is not text."
        : `The tool's answer is larger than ${formatSize(maxAnswerBytes)}.`;
      log.warn({ ...about, problem }, "the answer of a webhook is of no use");
      return { problem };
    } finally {
      body.destroy();
    }
  };

  return {
    answering: createAnsweringServers({ upstream, clock, log }),
    async ask(call) {
      const { webhook, id, content, signal, about } = call;
      const body = JSON.stringify(content);
      if (Buffer.byteLength(body) > maxRequestBytes)
        return { problem: `The tool's arguments are larger than ${formatSize(maxRequestBytes)}.` };
      const late = new AbortController();
      const cancelDeadline = clock.after(webhook.timeoutMs, () => late.abort());
      try {
        const response = await upstream.request({
          target: new URL(webhook.url),
          method: "POST",
          headers: {
            ...Object.fromEntries(
              Object.entries(webhook.headers).map(([name, value]) => [name.toLowerCase(), value.reveal()]),
            ),
            "content-type": "application/json",
            "accept-encoding": "identity",
            "user-agent": "squadron",
            ...signatureHeaders({ secret: webhook.secret, id, now: clock.now(), body }),
          },
          body: Buffer.from(body),
          signal: AbortSignal.any([signal, late.signal]),
        });
        return await answerIn(call, response);
      } catch (error) {
        if (signal.aborted) throw new SquadronError("cancelled", "The call of the tool was cancelled.");
        if (late.signal.aborted) {
          const problem = `The tool did not answer within ${formatDuration(webhook.timeoutMs)}.`;
          log.warn({ ...about, problem }, "a webhook did not answer in time");
          return { problem };
        }
        const { code, cause } = failureOf(error);
        log.warn({ ...about, failure: code, cause }, "a webhook could not be asked");
        return { problem: unreachable[code] };
      } finally {
        cancelDeadline();
      }
    },
    close: () => upstream.close(),
  };
};
