import type { OnBusy, Policy } from "../config/config.ts";
import { withDeadline } from "../kernel/deadline.ts";
import { type ErrorCode, SquadronError, toSquadronError } from "../kernel/errors.ts";
import { isObject, type Json } from "../kernel/json.ts";
import type { Usage } from "../models/grant.ts";
import { assertMay } from "../policy/session-rights.ts";
import { KeyUsed } from "../sessions/key-used.ts";
import type { Turn } from "../sessions/turn.ts";
import type { SessionRow } from "../store/store.ts";
import type { Envelope } from "../wire/envelope.ts";
import { RpcError } from "../wire/rpc-error.ts";
import { createArrivals } from "./arrivals.ts";
import type { HeldEnds } from "./held-ends.ts";
import type { HostServices } from "./host-services.ts";
import type { KnownMessages } from "./known-messages.ts";
import { noticeTo } from "./own-notice.ts";
import { withSenderName } from "./sender-names.ts";
import type { SessionAccess } from "./session-access.ts";
import { admitTurn } from "./turn-admission.ts";
import type { TurnRows } from "./turn-rows.ts";
import { createTurnRunner } from "./turn-runner.ts";
import type { TurnRunner } from "./turn-vocabulary.ts";
import type { Aborted, Attachment, Connection, Sender, Sending, SentMessage } from "./vocabulary.ts";

/** The turns of one session as its host sees them: counted, stored, and told to the clients when they end badly. */
export interface HostTurns extends Omit<TurnRunner, "send" | "steer" | "abort" | "restore"> {
  send(sender: Connection, parameters: Readonly<Record<string, unknown>>, how: Sending): Promise<SentMessage>;
  /** Ends this client's turns, or the one that is named if it is this client's. */
  abort(by: Connection, turnId?: string): Promise<Aborted>;
  /** Runs what an earlier holder of the session had promised to run. */
  resume(): Promise<void>;
  /** Takes back what waits of a user's; `all`: aborts the user's running turn, too. */
  expel(user: string, which: "waiting" | "all"): Promise<void>;
  /** Has this connection ever sent a message in this session? */
  hasAsked(connection: Connection): boolean;
  /** Tells every client that what ran has ended, when the runtime cannot say so and it was no turn of the queue. */
  announce(message: string): void;
  /** Tokens of a model call, noted in the ledger and for the limits of a day. */
  countTokens(usage: Pick<Usage, "inputTokens" | "outputTokens">): void;
  /** Why no model may be called any more today, if so. */
  readonly spent: string | undefined;
}

/** How long a runtime may take to hear that a turn is to end. */
const expelWithinMs = 5_000;

/** What a client is told whose message the runtime took and then forgot. */
const dropped =
  "The runtime has dropped the message without an answer; send it again if you want it answered.";

/** What a message is refused with that has not got into the queue. */
const untaken: ReadonlySet<ErrorCode> = new Set(["busy", "queue_full", "forbidden", "draining"]);

export const createHostTurns = (options: {
  readonly services: HostServices;
  readonly policy: Policy;
  readonly row: SessionRow;
  readonly attachments: readonly Attachment[];
  readonly access: SessionAccess;
  /** Calls the session's runtime; `before`, when it is awake. */
  readonly call: (
    method: string,
    params: Readonly<Record<string, unknown>>,
    before?: () => void,
  ) => Promise<Envelope>;
  readonly messages: KnownMessages;
  readonly heldEnds: HeldEnds;
  /** Waits until a turn may begin. */
  readonly mayBegin: () => Promise<void>;
  readonly onStuck: () => void;
  /** Rejects when the runtime cannot be asked. */
  readonly isProcessing: () => Promise<boolean>;
  readonly eventsTakenIn: () => Promise<void>;
  /** Takes in an event that the runtime owes. */
  readonly tellOwed: (type: string, data: Json) => void;
  /** The session's runtime, awake, is given a turn's first message. */
  readonly onRunning: () => void;
  readonly onEnded: () => void;
  readonly onSettled: () => void;
  readonly rows: TurnRows;
}): HostTurns => {
  const { clock, metrics, log, useLedger, tokenBudgets } = options.services;
  const { limits } = options.policy;
  const session = options.row.id;
  const asked = new WeakSet<Sender>();

  const tellOne = ({ name, connection }: Attachment, type: string, data: Json): void =>
    noticeTo(connection, name, clock, type, data);

  const tellError = (attachment: Attachment, message: string): void =>
    tellOne(attachment, "session.error", { errorType: "squadron", message });
  const tellIdle = (attachment: Attachment): void =>
    tellOne(attachment, "session.idle", { mode: "interactive" });

  /** Tells clients of an end that the runtime did not announce, in the words of the protocol. */
  const announce = (to: readonly Attachment[], message: string): void => {
    for (const attachment of to) {
      tellError(attachment, message);
      options.heldEnds.hold(attachment, () => tellIdle(attachment), "failure");
    }
  };

  /** The same to those who only watch: if they ask now, they would take it for the end of their own message. */
  const announceLater = (to: readonly Attachment[], message: string): void => {
    for (const attachment of to) {
      const tell = (): void => {
        tellError(attachment, message);
        tellIdle(attachment);
      };
      options.heldEnds.hold(attachment, tell, "failure");
    }
  };

  /** Tells of an end as a runtime does; `aborted`: also who has taken back what no runtime had got. */
  const tellOver = (to: readonly Attachment[], aborted: boolean): void => {
    for (const attachment of to) {
      options.heldEnds.drop(attachment);
      tellOne(attachment, "session.idle", { mode: "interactive", ...(aborted && { aborted }) });
      // Who has been answered with an error goes on already.
      options.heldEnds.told(attachment.connection);
    }
  };

  const arrivals = createArrivals((sender, missed) => {
    if (asks(sender)) return;
    if ("message" in missed) announce(attachmentsOf(sender), missed.message);
    else tellOver(attachmentsOf(sender), missed.kind === "aborted");
  });

  const submit = async (
    parameters: Readonly<Record<string, unknown>>,
    taking: () => void,
    { principal }: Sender,
  ): Promise<string> => {
    const running = (): void => {
      options.onRunning();
      taking();
    };
    const said = options.row.senderNames ? withSenderName(parameters, principal.user) : parameters;
    const result = (await options.call("session.send", said, running)).result();
    if (!isObject(result) || typeof result.messageId !== "string") {
      throw new RpcError({ code: -32603, message: "The runtime accepted the message without an id." });
    }
    return result.messageId;
  };

  const runner = createTurnRunner({
    clock,
    assertMaySend: ({ principal }) =>
      assertMay(options.access.assertPart(principal), "writer", "sending messages"),
    accepted: options.rows.accepted,
    begun: async (turn) => {
      await options.mayBegin();
      await options.rows.begun(turn);
    },
    steering: options.rows.begun,
    onStuck: options.onStuck,
    isProcessing: options.isProcessing,
    eventsTakenIn: options.eventsTakenIn,
    onEndLost(aborted) {
      log.warn({ session, aborted }, "the runtime has not told the end of a turn; it is told for it");
      if (!aborted) options.tellOwed("session.error", { errorType: "squadron", message: dropped });
      options.tellOwed("session.idle", { mode: "interactive", ...(aborted && { aborted }) });
    },
    place: (sender, onHeld) => options.services.turnPlaces.take(sender.principal, limits, onHeld),
    queueLength: limits.queueLength,
    turnTimeoutMs: limits.turnTimeoutMs,
    submit,
    abortUpstream: (taking) => options.call("session.abort", {}, taking),
    onNamed: ({ sender }, runtimeId, clientId) =>
      options.messages.named(runtimeId, { clientId, user: sender.principal.user }),
    onRefused(turn, error) {
      const message = error instanceof RpcError ? error.message : toSquadronError(error).message;
      announce(attachmentsOf(turn.sender), message);
    },
    onEnd(ending, times) {
      arrivals.ended(ending);
      const { turn, joined, outcome } = ending;
      metrics.turnStarted((times.startedAt - times.queuedAt) / 1000);
      metrics.turnEnded(
        outcome.kind === "refused" ? "failed" : outcome.kind,
        (times.endedAt - times.startedAt) / 1000,
      );
      if (times.firstTokenAt !== undefined) metrics.firstToken((times.firstTokenAt - times.startedAt) / 1000);
      log.info(
        { session, turn: turn.id, connection: turn.sender.id, outcome: outcome.kind, joined: joined.length },
        "turn ended",
      );
      void options.rows.ended(ending);
      options.onEnded();
      useLedger.used(session, 0, 0);
      options.onSettled();
    },
    onCancelled: (turn, outcome) => {
      arrivals.ended({ turn, joined: [], outcome });
      return options.rows.ended({ turn, joined: [], outcome });
    },
  });

  const waits: TurnRunner["waits"] = (sender, end) => arrivals.of(sender) || runner.waits(sender, end);
  const asks = (sender: Sender): boolean => arrivals.of(sender) || runner.asks(sender);

  const attachmentsOf = (sender: Sender): readonly Attachment[] =>
    options.attachments.filter(({ connection }) => connection === sender);

  /** May this client end that turn? Over HTTP each request is a connection of its own, so its user counts. */
  const isOwn = (by: Connection, turn: Turn<Sender>): boolean => {
    const { sender } = turn;
    if (sender === by) return true;
    if (sender.principal.user !== by.principal.user || sender.principal.tenant !== by.principal.tenant)
      return false;
    if (by.link.kind === "http") return true;
    return !sender.open && sender.link?.kind !== "http" && turn === runner.current;
  };

  /** Whose tokens it are: the sender's of what runs. */
  const payer = (): Sender["principal"] =>
    runner.current?.sender.principal ?? { tenant: options.row.tenant, user: options.row.owner };

  /** What a client wants done with its message when the session is busy. */
  const wayOf = (params: Readonly<Record<string, unknown>>, { onBusy }: Sending): OnBusy => {
    if (params.mode === "immediate") return "steer";
    return params.mode === "enqueue" ? "enqueue" : (onBusy ?? options.policy.onBusy);
  };

  const assertIdle = (): void => {
    const serves = runner.current ?? runner.waiting[0];
    if (serves === undefined) return;
    const servedUser = serves.sender.principal.user;
    const queueLength = runner.waiting.length;
    throw new SquadronError(
      "busy",
      `The session is answering ${servedUser}${queueLength === 0 ? "" : `, and ${queueLength} more wait`}; try again later, or send with onBusy: enqueue.`,
      { details: { servedUser, queueLength } },
    );
  };

  const interruptFor: HostTurns["send"] = async (sender, params, how) => {
    const running = runner.current;
    const owner = sender.principal.user === options.row.owner;
    if (running !== undefined && !owner && !isOwn(sender, running))
      throw new SquadronError(
        "forbidden",
        "Only the founder of a session may interrupt the turn of another.",
      );
    const sent = await runner.send(sender, params, how, true);
    if (running !== undefined) await runner.abort((turn) => turn === running);
    return sent;
  };

  const take: HostTurns["send"] = async (sender, params, how) => {
    switch (wayOf(params, how)) {
      case "steer":
        return runner.steer(sender, params, how);
      case "interrupt":
        return interruptFor(sender, params, how);
      case "reject":
        assertIdle();
        return runner.send(sender, params, how);
      case "enqueue":
        return runner.send(sender, params, how);
    }
  };

  const interrupt = (message: string): void => {
    if (runner.current === undefined) return;
    const to = options.attachments.filter(({ connection }) => !waits(connection, "interrupted"));
    const isServed = ({ connection }: Attachment): boolean =>
      runner.serves(connection, "interrupted") || connection.link.kind !== "sdk";
    announce(to.filter(isServed), message);
    announceLater(
      to.filter((attachment) => !isServed(attachment) && !asked.has(attachment.connection)),
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
    async send(sender, params, how) {
      const counted = await arrivals.until(sender, async () => {
        const admitted = await admitTurn(options.services, sender.principal, limits);
        asked.add(sender);
        return admitted;
      });
      try {
        return await take(sender, params, how);
      } catch (error) {
        const again = error instanceof KeyUsed;
        if (again || (error instanceof SquadronError && untaken.has(error.code))) counted.giveBack();
        throw error;
      }
    },
    async abort(by, turnId) {
      const running = runner.current;
      const turns = await runner.abort(
        (turn) =>
          isOwn(by, turn) && (turnId === undefined || turnId === turn.id || turnId === turn.runtimeMessageId),
      );
      if (turns.some((turn) => turn !== running && turn.sender === by) && !asks(by))
        tellOver(attachmentsOf(by), true);
      // Others' connections that wait for what has been dropped hear of it.
      for (const { sender } of turns.filter((turn) => turn !== running && turn.sender !== by))
        if (!asks(sender))
          announce(attachmentsOf(sender), "The message was taken back before it was answered.");
      return { turns, foreign: running !== undefined && !isOwn(by, running) };
    },
    async expel(user, which) {
      const running = which === "waiting" ? runner.current : undefined;
      const over = runner.abort((turn) => turn.sender.principal.user === user && turn !== running);
      await withDeadline(over, { clock, ms: expelWithinMs, what: "The end of a turn" }).catch((error) =>
        log.warn({ session, error }, "a turn of a user who was removed could not be aborted"),
      );
    },
    async resume() {
      runner.restore(await options.rows.claim(clock.monotonic()));
    },
    announce: (message) => announce(options.attachments, message),
    find: runner.find,
    unsteered: runner.unsteered,
    observe: runner.observe,
    ending: runner.ending,
    idle: runner.idle,
    interrupt,
    end(message, error) {
      if (runner.current !== undefined || runner.waiting.length > 0) announce(options.attachments, message);
      runner.end(message, error);
    },
    stop(message) {
      if (runner.current !== undefined || runner.waiting.length > 0) announce(options.attachments, message);
      runner.stop(message);
    },
    get failed() {
      return runner.failed;
    },
    countTokens(usage) {
      useLedger.used(session, usage.inputTokens, usage.outputTokens);
      tokenBudgets.used(payer(), limits, usage);
    },
    get spent() {
      return tokenBudgets.spent(payer(), limits)?.message;
    },
    serves: runner.serves,
    waits,
    asks,
    get toRun() {
      return runner.toRun;
    },
    get owesError() {
      return runner.owesError;
    },
  };
};
