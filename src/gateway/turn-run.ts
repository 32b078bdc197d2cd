import { isObject } from "../kernel/json.ts";
import type { Turn, TurnOutcome } from "../sessions/turn.ts";
import type { TurnProgress } from "./turn-progress.ts";
import type { Sender } from "./vocabulary.ts";

/** A message that was delivered into the running turn. */
export interface Steered {
  readonly turn: Turn<Sender>;
  /** Has the runtime told of it? It can do so just before the idle of a turn that does not take it up any more. */
  seen: boolean;
  /** Has the model said anything since? */
  takenUp: boolean;
}

/** A turn from its beginning to its end. */
export interface TurnRun {
  readonly turn: Turn<Sender>;
  readonly progress: TurnProgress;
  steered: readonly Steered[];
  /** Is its message on the way to the runtime? Before that, no idle can be this turn's. */
  submitted: boolean;
  /** Has the runtime been told to abort it? It takes up no further message then. */
  aborting: boolean;
  /** Its idle has come before its message was known to be taken. */
  idleSeen: boolean;
  /** Has its idle come? What it tells is being stored; nothing can join or abort the turn any more. */
  over: boolean;
  /** Was it delivered into an earlier turn, too late for that? The runtime has not told yet that it begins with it. */
  unbegun: boolean;
  /**
   * Resolves when the runtime has taken the message that it was given last, or the turn has ended. One is given after the
   * other: by its events a runtime tells which message is which only when one is on its way.
   */
  taken: PromiseWithResolvers<void>;
  cancelTimer: () => void;
  cancelWatch: () => void;
}

/**
 * May the runtime never tell the end of this turn? When an abort crosses a message that is delivered into the turn, it
 * sometimes keeps the message without running it, or drops it, and says no `session.idle` (11 of 200 times).
 */
export const isDoubtful = ({ aborting, unbegun, over }: TurnRun): boolean => !over && (aborting || unbegun);

/** Does this run take up no further message? */
export const takesNone = ({ aborting, over }: TurnRun): boolean => aborting || over;

/** Is a message of this run on its way to the runtime? */
export const isGiving = ({ turn, steered }: TurnRun): boolean =>
  [turn, ...steered.map((one) => one.turn)].some(({ state }) => state.kind === "submitting");

/** Has the turn's own model said something with this? */
const isAnswer = (type: string, data: unknown): boolean =>
  type === "assistant.message" && isObject(data) && data.parentToolCallId === undefined;

/** Does this idle end a turn? Autopilot is idle between its own steps. */
export const endsTurn = (data: unknown): boolean =>
  !(typeof data === "object" && data !== null && "mode" in data && data.mode === "autopilot");

/**
 * Does a message end with its run, were that to end so? One that came too late to be taken up by a turn that completes is
 * the runtime's next turn; with a turn that ends otherwise the runtime drops it.
 */
const endsWith = ({ takenUp }: Steered, end: TurnOutcome["kind"]): boolean => takenUp || end !== "completed";

/** The messages that end with a run, were it to end so. */
export const joinedTo = ({ steered }: TurnRun, end: TurnOutcome["kind"]): readonly Turn<Sender>[] =>
  steered.filter((one) => endsWith(one, end)).map(({ turn }) => turn);

/** The messages that go on after a run, were it to end so. */
export const tooLateFor = ({ steered }: TurnRun, end: TurnOutcome["kind"]): readonly Steered[] =>
  steered.filter((one) => !endsWith(one, end));

/** All that a run answers, were it to end so. */
export const servedBy = (run: TurnRun, end: TurnOutcome["kind"]): readonly Turn<Sender>[] => [
  run.turn,
  ...joinedTo(run, end),
];

/** A message of a run that the runtime has told of, by its own id of it. */
export interface ToldMessage {
  readonly turn: Turn<Sender>;
  readonly id: string;
}

/** Which message of the run does this event tell of, if any? One whose id is not known is the one on its way. */
export const messageToldBy = (run: TurnRun, type: string, data: unknown): ToldMessage | undefined => {
  if (type !== "user.message" || !isObject(data) || typeof data.messageId !== "string") return undefined;
  const id = data.messageId;
  if (run.turn.state.kind === "submitting") return { turn: run.turn, id };
  if (run.turn.runtimeMessageId === id) return undefined;
  const steered = run.steered.map(({ turn }) => turn);
  const turn =
    steered.find(({ runtimeMessageId }) => runtimeMessageId === id) ??
    steered.find(({ state }) => state.kind === "submitting");
  return turn && { turn, id };
};

/** Notes in the run what an event tells, `agentId`: of a sub-agent; `told`: the message that it tells of. */
export const noteEvent = (
  run: TurnRun,
  { type, data, agentId }: { readonly type: string; readonly data: unknown; readonly agentId: unknown },
  told: ToldMessage | undefined,
): void => {
  for (const one of run.steered) one.seen ||= one.turn === told?.turn;
  if (type === "assistant.turn_start" && agentId === undefined) run.unbegun = false;
  if (type === "session.idle" && run.submitted && endsTurn(data)) run.over = true;
  if (isAnswer(type, data)) for (const one of run.steered) one.takenUp ||= one.seen;
  run.progress.observe(type, data);
};
