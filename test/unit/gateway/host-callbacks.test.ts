import { describe, expect, it } from "vitest";
import { splitParameters } from "../../../src/gateway/declarations.ts";
import { createHostCallbacks } from "../../../src/gateway/host-callbacks.ts";
import { createOpenRequests } from "../../../src/gateway/open-requests.ts";
import { createUserInputs } from "../../../src/gateway/user-inputs.ts";
import type { Attachment, Connection, SessionHost } from "../../../src/gateway/vocabulary.ts";
import { SquadronError } from "../../../src/kernel/errors.ts";
import { createTurn } from "../../../src/sessions/turn.ts";
import { createLog } from "../../../src/telemetry/log.ts";
import { createMetrics } from "../../../src/telemetry/metrics.ts";
import { RpcError } from "../../../src/wire/rpc-error.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { settle } from "./fake-node.ts";

const alice = { tenant: "acme", user: "alice", roles: ["user"] } as const;
const notAvailable = { answer: "The user is not available to answer.", wasFreeform: true };

/** A client that is asked and that the test answers for. */
const clientNamed = (name: string, params: Record<string, unknown> = { requestUserInput: true }) => {
  const asked: { readonly params: unknown; readonly signal: AbortSignal | undefined }[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const connection = {
    id: name,
    principal: alice,
    open: true,
    link: {
      kind: "sdk",
      request: (_method: string, shown: unknown, { signal }: { signal?: AbortSignal }) => {
        asked.push({ params: shown, signal });
        const { promise: cancelled, reject: cancel } = Promise.withResolvers<never>();
        signal?.addEventListener("abort", () => cancel(new SquadronError("cancelled", "It is over.")));
        return Promise.race([promise, cancelled]);
      },
    },
  } as unknown as Connection;
  const { declarations } = splitParameters(params);
  const attachment = { connection, host: {} as SessionHost, name, declarations } as Attachment;
  return {
    attachment,
    asked,
    answer: resolve,
    fail: (message: string) => reject(new RpcError({ code: -1, message })),
    go: () => reject(new SquadronError("connection_closed", "It has gone.")),
  };
};

const setUp = (
  given: {
    asksPeople?: boolean;
    clients?: readonly ReturnType<typeof clientNamed>[];
    answers?: (attachment: Attachment) => boolean;
  } = {},
) => {
  const clock = new ManualClock();
  const told: string[] = [];
  const requests = createOpenRequests({
    clock,
    deadlineMs: 100,
    onOpened: ({ kind }) => told.push(`${kind} opened`),
    onEnded: (_request, end) => told.push("by" in end ? `answered by ${end.by.user}` : end.outcome),
    onTooMany: () => undefined,
  });
  const userInputs = createUserInputs(requests);
  const ask = createHostCallbacks({
    requests,
    userInputs,
    publicId: "ses_public",
    asksPeople: () => given.asksPeople === true,
    timeoutMs: 100,
    log: createLog({ level: "silent" }),
    metrics: createMetrics(),
  });
  const attachments = (given.clients ?? []).map(({ attachment }) => attachment);
  const sender = attachments.at(0)?.connection;
  const turn = createTurn({
    id: "t",
    sender: sender ?? { id: "http", principal: alice, open: true },
    parameters: {},
    queuedAt: 0,
  });
  const callback = (method: string, params: Record<string, unknown> = {}): Promise<unknown> =>
    ask({
      method,
      params: { sessionId: "inner", ...params },
      audience: { attachments, sender, answers: given.answers ?? (() => true) },
      turn,
      recordWriter: undefined,
    });
  const question = { question: "Which?", choices: ["red"], allowFreeform: true };
  return { clock, told, requests, userInputs, turn, callback, question };
};

describe("a question to the user", () => {
  it("is the sender's client to answer, which sees its own name of the session", async () => {
    const [one, two] = [clientNamed("one"), clientNamed("two")];
    const { callback, question, told, requests } = setUp({ clients: [one, two] });
    const answer = callback("userInput.request", question);
    expect([one.asked.length, two.asked.length, requests.size]).toEqual([1, 0, 1]);
    expect(one.asked[0]?.params).toEqual({ sessionId: "one", ...question });
    expect(requests.list[0]).toMatchObject({ kind: "user_input", detail: { sessionId: "ses_public" } });
    one.answer({ answer: "red", wasFreeform: false });
    expect(await answer).toEqual({ answer: "red", wasFreeform: false });
    expect(told).toEqual(["user_input opened", "answered by alice"]);
  });

  it("is answered by an error if that is the client's answer", async () => {
    const one = clientNamed("one");
    const { callback, question, told } = setUp({ clients: [one] });
    const answer = callback("userInput.request", question);
    one.fail("no handler");
    await expect(answer).rejects.toThrow("no handler");
    expect(told.at(-1)).toBe("answered by alice");
  });

  it("goes to the next client when one has gone, and to none that was asked before", async () => {
    const [one, two] = [clientNamed("one"), clientNamed("two")];
    const { callback, question, told } = setUp({ clients: [one, two] });
    const answer = callback("userInput.request", question);
    one.go();
    await settle();
    expect(two.asked.length).toBe(1);
    two.go();
    expect(await answer).toEqual(notAvailable);
    expect([one.asked.length, told.at(-1)]).toEqual([1, "timeout"]);
  });

  it("is not answered by a client whose user may not any more", async () => {
    const [one, two] = [clientNamed("one"), clientNamed("two")];
    const refused = new Set<Attachment>();
    const answers = (attachment: Attachment): boolean => !refused.has(attachment);
    const { callback, question, requests } = setUp({ clients: [one, two], answers });
    const answer = callback("userInput.request", question);
    refused.add(one.attachment);
    requests.left(one.attachment);
    one.answer({ answer: "mine", wasFreeform: true });
    await settle();
    expect([requests.size, two.asked.length]).toEqual([1, 1]);
    two.answer({ answer: "red", wasFreeform: false });
    expect(await answer).toEqual({ answer: "red", wasFreeform: false });
  });

  it("is answered at once if nobody can be asked, unless people answer the session", async () => {
    const plain = setUp();
    expect(await plain.callback("userInput.request", plain.question)).toEqual(notAvailable);
    expect(plain.told).toEqual([]);

    const { callback, question, clock, told, requests } = setUp({ asksPeople: true });
    const answer = callback("userInput.request", question);
    await settle();
    clock.advance(99);
    expect([told, requests.size]).toEqual([["user_input opened"], 1]);
    clock.advance(1);
    expect([await answer, told.at(-1), clock.pending]).toEqual([notAvailable, "timeout", 0]);
  });

  it("waits for people when every client has gone", async () => {
    const one = clientNamed("one");
    const { callback, question, requests } = setUp({ asksPeople: true, clients: [one] });
    const answer = callback("userInput.request", question);
    one.go();
    await settle();
    const id = requests.list[0]?.id ?? "";
    const given = { kind: "user_input", answer: "red" } as const;
    expect(await requests.answer(id, alice, async () => requests.find(id)?.give(given) ?? false)).toBe(true);
    expect(await answer).toEqual({ answer: "red", wasFreeform: false });
  });

  it("that a person has answered is the client's no more", async () => {
    const one = clientNamed("one");
    const { callback, question, requests } = setUp({ clients: [one] });
    const answer = callback("userInput.request", question);
    const id = requests.list[0]?.id ?? "";
    const given = { kind: "user_input", answer: "green" } as const;
    await requests.answer(id, alice, async () => requests.find(id)?.give(given) ?? false);
    expect(await answer).toEqual({ answer: "green", wasFreeform: true });
    expect(one.asked[0]?.signal?.aborted).toBe(true);
  });

  it("has the id of its event, and is over when that says so or its turn is aborted", async () => {
    const { callback, question, userInputs, requests, told, turn } = setUp({ asksPeople: true });
    userInputs.seen("user_input.requested", { requestId: "from-event", ...question });
    const first = callback("userInput.request", question);
    const second = callback("userInput.request", question);
    expect([requests.list[0]?.id, requests.list[1]?.id]).toEqual([
      "from-event",
      expect.stringMatching(/^ask_/),
    ]);
    userInputs.seen("user_input.completed", { requestId: "from-event" });
    expect([await first, requests.size]).toEqual([notAvailable, 1]);
    turn.change({ kind: "end", outcome: { kind: "interrupted", message: "gone" } });
    expect([await second, requests.size, told.slice(2)]).toEqual([
      notAvailable,
      0,
      ["withdrawn", "withdrawn"],
    ]);
  });

  it("is the same with leaving plan mode, which people are not asked over HTTP", async () => {
    const flags = { requestExitPlanMode: true };
    const [one, two] = [clientNamed("one", flags), clientNamed("two", flags)];
    const { callback, told } = setUp({ asksPeople: true, clients: [one, two] });
    const answer = callback("exitPlanMode.request", { summary: "s" });
    one.go();
    await settle();
    two.go();
    expect(await answer).toMatchObject({ approved: false });
    expect(told[0]).toBe("undefined opened");
  });
});

describe("a callback to a program", () => {
  it("is asked once, and answered by default when its client has gone", async () => {
    const flags = { hooks: true };
    const [one, two] = [clientNamed("one", flags), clientNamed("two", flags)];
    const { callback, requests } = setUp({ asksPeople: true, clients: [one, two] });
    const answer = callback("hooks.invoke");
    expect(requests.size).toBe(0);
    one.go();
    expect([await answer, two.asked.length]).toEqual([{}, 0]);
    await expect(callback("canvas.open")).rejects.toThrow(/canvas.open/);
    await expect(callback("made.up")).rejects.toThrow(/made.up/);
  });
});
