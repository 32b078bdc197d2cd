import type { Policy } from "../config/config.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { methodEntry } from "../wire/method-table.ts";
import { RpcError } from "../wire/rpc-error.ts";
import { callbackKinds, canAnswer } from "./callbacks.ts";
import { chooseFor } from "./delivery.ts";
import { withIds } from "./ids.ts";
import type { Attachment, Sender } from "./vocabulary.ts";

/**
 * Passes a question of the runtime to the one client that answers it, with a deadline. When nobody can be
 * asked or answers in time, the documented default answers; where there is none, the runtime gets an error. A client's
 * own error is its answer.
 */
export const askAttachment = async (question: {
  readonly method: string;
  readonly params: Record<string, unknown>;
  readonly attachments: readonly Attachment[];
  readonly sender: Sender | undefined;
  readonly recordWriter: Attachment | undefined;
  readonly policy: Policy;
  readonly log: Log;
  readonly metrics: Metrics;
}): Promise<unknown> => {
  const { method, params, log, metrics } = question;
  const kind = callbackKinds[method];
  if (kind === undefined) throw new SquadronError("method_unknown", `Squadron does not pass on ${method}.`);
  const asked = chooseFor(question, (attachment) => canAnswer(kind, attachment, question.recordWriter));
  if (asked !== undefined) {
    const session = params.sessionId;
    let shown: unknown = params;
    for (const path of methodEntry(method)?.ids.params ?? []) {
      shown = withIds(shown, path, (id) => (id === session ? asked.name : undefined));
    }
    try {
      const answer = await asked.connection.link.request(method, shown, {
        timeoutMs: question.policy.limits.callbackTimeoutMs,
      });
      metrics.callback("answered");
      return answer;
    } catch (error) {
      if (error instanceof RpcError) throw error;
      log.info(
        { session, connection: asked.connection.id, method, error },
        "a client did not answer a callback",
      );
    }
  }
  metrics.callback(asked === undefined ? "unhandled" : "timeout");
  const answer = kind.defaultAnswer(params);
  if (answer === undefined) {
    throw new SquadronError("timeout", `No client of this session answered ${method}.`);
  }
  return answer;
};
