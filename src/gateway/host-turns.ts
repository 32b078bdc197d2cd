import type { Policy } from "../config/config.ts";
import { toSquadronError } from "../kernel/errors.ts";
import { newUuid } from "../kernel/ids.ts";
import { isObject } from "../kernel/json.ts";
import type { Usage } from "../models/grant.ts";
import type { SessionRow } from "../store/store.ts";
import type { Envelope } from "../wire/envelope.ts";
import { RpcError } from "../wire/rpc-error.ts";
import type { HeldEnds } from "./held-ends.ts";
import type { HostServices } from "./host-services.ts";
import type { TurnRows } from "./turn-rows.ts";
import { createTurnRunner, type TurnRunner } from "./turn-runner.ts";
import type { Attachment, Connection } from "./vocabulary.ts";

/** The turns of one session as its host sees them: counted, stored, and told to the clients when they end badly. */
export interface HostTurns extends TurnRunner {
  /** Has this connection ever sent a message in this session? */
  hasAsked(connection: Connection): boolean;
  /** Tells every client that what ran has ended, when the runtime cannot say so and it was no turn of the queue. */
  announce(message: string): void;
  /** Tokens of a model call, noted in the ledger. */
  countTokens(usage: Pick<Usage, "inputTokens" | "outputTokens">): void;
}

export const createHostTurns = (options: {
  readonly services: HostServices;
  readonly policy: Policy;
  readonly row: SessionRow;
  readonly attachments: readonly Attachment[];
  /** Calls the session's runtime; `before`, when it is awake. */
  readonly call: (
    method: string,
    params: Readonly<Record<string, unknown>>,
    before?: () => void,
  ) => Promise<Envelope>;
  readonly renamed: Map<string, string>;
  readonly heldEnds: HeldEnds;
  /** Waits until a turn may begin. */
  readonly mayBegin: () => Promise<void>;
  readonly onStuck: () => void;
  /** A turn has ended after so many milliseconds. */
  readonly onEnded: (ms: number) => void;
  readonly onSettled: () => void;
  readonly rows: TurnRows;
}): HostTurns => {
  const { clock, store, metrics, log, useLedger } = options.services;
  const session = options.row.id;
  const asked = new WeakSet<Connection>();

  const keep = (work: Promise<void>): void => {
    work.catch((error) => log.error({ session, error }, "the end of a turn was not stored"));
  };

  /** Tells clients of an end that the runtime did not announce, in the words of the protocol. */
  const announce = (to: readonly Attachment[], message: string): void => {
    for (const attachment of to) {
      const event = (type: string, data: unknown) => ({
        sessionId: attachment.name,
        event: {
          id: newUuid(),
          timestamp: new Date(clock.now()).toISOString(),
          parentId: null,
          ephemeral: true,
          type,
          data,
        },
      });
      attachment.connection.link.notify(
        "session.event",
        event("session.error", { errorType: "squadron", message }),
      );
      options.heldEnds.hold(
        attachment,
        () =>
          attachment.connection.link.notify("session.event", event("session.idle", { mode: "interactive" })),
        "failure",
      );
    }
  };

  const submit = async (
    parameters: Readonly<Record<string, unknown>>,
    taking?: () => void,
  ): Promise<string> => {
    const result = (await options.call("session.send", parameters, taking)).result();
    if (!isObject(result) || typeof result.messageId !== "string") {
      throw new RpcError({ code: -32603, message: "The runtime accepted the message without an id." });
    }
    return result.messageId;
  };

  const runner = createTurnRunner({
    clock,
    accepted: options.rows.accepted,
    begun: async (turn) => {
      await options.rows.begun(turn);
      await options.mayBegin();
    },
    onStuck: options.onStuck,
    queueLength: options.policy.limits.queueLength,
    turnTimeoutMs: options.policy.limits.turnTimeoutMs,
    submit,
    abortUpstream: () => options.call("session.abort", {}),
    onRenamed(runtimeMessageId, clientMessageId) {
      options.renamed.set(runtimeMessageId, clientMessageId);
      keep(store.messageIds.put(session, runtimeMessageId, clientMessageId));
    },
    onRefused(turn, error) {
      const message = error instanceof RpcError ? error.message : toSquadronError(error).message;
      announce(
        options.attachments.filter(({ connection }) => connection === turn.sender),
        message,
      );
    },
    onEnd(turn, outcome, times) {
      metrics.turnStarted((times.startedAt - times.queuedAt) / 1000);
      metrics.turnEnded(
        outcome.kind === "refused" ? "failed" : outcome.kind,
        (times.endedAt - times.startedAt) / 1000,
      );
      if (times.firstTokenAt !== undefined) metrics.firstToken((times.firstTokenAt - times.startedAt) / 1000);
      log.info({ session, turn: turn.id, connection: turn.sender.id, outcome: outcome.kind }, "turn ended");
      options.rows.ended(turn, outcome);
      options.onEnded(times.endedAt - times.startedAt);
      useLedger.used(session, 0, 0);
      options.onSettled();
    },
    onCancelled: options.rows.ended,
  });

  const interrupt = (message: string): void => {
    if (runner.current === undefined) return;
    announce(
      options.attachments.filter(
        ({ connection }) =>
          !runner.waits(connection) &&
          (connection === runner.current?.sender || connection.link.kind !== "sdk" || !asked.has(connection)),
      ),
      message,
    );
    runner.interrupt(message);
  };

  return {
    get current() {
      return runner.current;
    },
    get waiting() {
      return runner.waiting;
    },
    hasAsked: (connection) => asked.has(connection),
    async send(sender, params) {
      asked.add(sender);
      if (params.mode === "immediate" && runner.current !== undefined) {
        const turn = runner.current;
        return { messageId: await submit(params), turn };
      }
      return runner.send(sender, params);
    },
    announce: (message) => announce(options.attachments, message),
    observe: runner.observe,
    ending: runner.ending,
    idle: runner.idle,
    abort: (sender) => runner.abort(sender),
    interrupt,
    stop(message) {
      if (runner.current !== undefined || runner.waiting > 0) announce(options.attachments, message);
      runner.stop(message);
    },
    get failed() {
      return runner.failed;
    },
    countTokens: ({ inputTokens, outputTokens }) => useLedger.used(session, inputTokens, outputTokens),
    waits: runner.waits,
    asks: runner.asks,
    get owesError() {
      return runner.owesError;
    },
  };
};
