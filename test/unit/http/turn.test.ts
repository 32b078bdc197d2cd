import { expect, test } from "vitest";
import type { Connection, Sender, Sending, SentMessage } from "../../../src/gateway/vocabulary.ts";
import { answerTo, createTurnEvents } from "../../../src/http/turn.ts";
import { SquadronError } from "../../../src/kernel/errors.ts";
import { createTurn, type Turn, type TurnOutcome } from "../../../src/sessions/turn.ts";
import { createTurnQueue, type TurnQueue } from "../../../src/sessions/turn-queue.ts";
import { RpcError } from "../../../src/wire/rpc-error.ts";

const usage = { inputTokens: 1, outputTokens: 2 };
const never = new AbortController().signal;

const added = (queue: TurnQueue<Sender>, id: string, sender: Sender): Turn<Sender> => {
  const turn = createTurn({ id, sender, parameters: {}, queuedAt: 0 });
  queue.add(turn);
  return turn;
};

/** A session's queue, and a connection that does nothing but send into it. */
const session = () => {
  const queue = createTurnQueue<Sender>(() => "all");
  const { promise: accepted, resolve: accept } = Promise.withResolvers<void>();
  const send = async (_message: unknown, { onTurn }: Sending): Promise<SentMessage> => {
    const turn = added(queue, "t1", connection);
    onTurn?.(turn);
    if (queue.current === undefined) {
      queue.begin();
      await accepted;
    }
    return { messageId: "t1", turn };
  };
  const connection = { send } as unknown as Connection;
  return { queue, connection, accept };
};

const listen = () => {
  const seen: string[] = [];
  const events = createTurnEvents({
    answer: "stored",
    onSent: (turnId) => seen.push(`sent ${turnId}`),
    onEvent: ({ type }) => seen.push(type),
  });
  return { seen, events };
};

test("events that came before the message was acknowledged are its turn's, those before it was sent are not", async () => {
  const { queue, connection, accept } = session();
  const { seen, events } = listen();
  events.take({ type: "session.start" });
  const sending = events.send(connection, {});
  events.take({ type: "user.message" });
  accept();
  await sending;
  events.take({ type: "assistant.message" });
  const turn = queue.current;
  if (turn !== undefined) queue.end(turn, { kind: "completed", content: "", usage });
  events.take({ type: "somebody.else" });
  expect(seen).toEqual(["sent t1", "user.message", "assistant.message"]);
});

test("a turn that waits gets no event of the turn before it", async () => {
  const { queue, connection } = session();
  const before = added(queue, "t0", connection);
  queue.begin();
  const { seen, events } = listen();
  const sending = events.send(connection, {});
  events.take({ type: "noise" });
  await sending;
  events.take({ type: "noise" });
  queue.end(before, { kind: "completed", content: "", usage });
  queue.begin();
  events.take({ type: "signal" });
  expect(seen).toEqual(["sent t1", "signal"]);
});

const answerOf = (outcome: TurnOutcome) => {
  const { queue, connection } = session();
  const turn = added(queue, "t1", connection);
  queue.begin();
  queue.end(turn, outcome);
  return answerTo(turn, never);
};

test("a completed turn is its answer", async () => {
  expect(await answerOf({ kind: "completed", content: "yes", usage })).toEqual({
    turnId: "t1",
    content: "yes",
    usage,
  });
});

test.each<[TurnOutcome, string, number]>([
  [{ kind: "failed", reason: "error", message: "no", content: "", usage }, "turn_failed", 502],
  [{ kind: "aborted", content: "", usage }, "turn_aborted", 409],
  [{ kind: "interrupted", message: "gone" }, "turn_interrupted", 503],
  [{ kind: "refused", error: new SquadronError("session_deleted", "gone") }, "session_deleted", 410],
  [{ kind: "refused", error: new RpcError({ code: -32000, message: "no" }) }, "upstream_error", 502],
  [{ kind: "refused", error: new Error("secret") }, "internal", 500],
])("the outcome %o is the error %s", async (outcome, code, httpStatus) => {
  const error = await answerOf(outcome).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code, httpStatus, details: { turnId: "t1" } });
  expect(String(error)).not.toContain("secret");
});

test("a wait ends with its signal's reason", async () => {
  const { queue, connection } = session();
  const turn = added(queue, "t1", connection);
  const signal = AbortSignal.abort(new SquadronError("draining", "bye"));
  await expect(answerTo(turn, signal)).rejects.toMatchObject({ code: "draining" });
});
