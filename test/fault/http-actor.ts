import { setTimeout as sleep } from "node:timers/promises";
import { createParser } from "eventsource-parser";
import { Agent, type Dispatcher, request } from "undici";
import type { Actor, ActorOptions, Manner } from "./actor.ts";
import type { Outcome } from "./journal.ts";
import { messageOf, outcomeOf, settle, unreachable } from "./outcomes.ts";
import { systemMessageOf } from "./talk.ts";

type Body = Readonly<Record<string, unknown>>;

interface Answer {
  readonly status: number;
  readonly retryAfterMs: number | undefined;
  readonly body: Body;
}

const pollEveryMs = 30;

const errorCode = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : "";

const failureOf = (error: unknown): Outcome =>
  errorCode(error) === "ECONNREFUSED" ? unreachable : { kind: "lost", reason: messageOf(error) };

const answerOf = async (response: Dispatcher.ResponseData): Promise<Answer> => {
  const seconds = response.headers["retry-after"];
  return {
    status: response.statusCode,
    retryAfterMs: seconds === undefined ? undefined : Number(seconds) * 1_000,
    body: JSON.parse(await response.body.text()) as Body,
  };
};

/** What a turn as a fact tells its sender; undefined when it has not ended. */
export const endOf = ({ id, state, content, reason }: Body): Outcome | undefined => {
  switch (state) {
    case "queued":
    case "running":
      return undefined;
    case "completed":
      return { kind: "answered", content: String(content), turnId: String(id) };
    default:
      return outcomeOf(`turn_${state}`, String(reason));
  }
};

/** What an answer to a message tells its sender. */
export const toldBy = ({ status, body, retryAfterMs }: Answer): Outcome => {
  if (status === 200) return { kind: "answered", content: String(body.content), turnId: String(body.turnId) };
  if (typeof body.code === "string") return outcomeOf(body.code, String(body.detail), retryAfterMs);
  return { kind: "failed", code: `http ${status}`, message: JSON.stringify(body) };
};

/** A program that speaks HTTP, a connection per request. */
export const createHttpActor = (options: ActorOptions): Actor => {
  const { name, user, world, journal, hangMs } = options;
  const dispatcher = new Agent({ pipelining: 0, headersTimeout: 0, bodyTimeout: 0 });
  const ids = new Map<string, string>();
  let cutting = new AbortController();

  const send = (path: string, body: unknown, headers: Readonly<Record<string, string>> = {}) =>
    request(`${world.endpoints.http}${path}`, {
      method: body === undefined ? "GET" : "POST",
      dispatcher,
      headers: {
        authorization: `Bearer ${user.key}`,
        ...(body !== undefined && { "content-type": "application/json" }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.any([cutting.signal, AbortSignal.timeout(hangMs + 1_000)]),
    });
  const call = async (path: string, body?: unknown): Promise<Answer> => answerOf(await send(path, body));

  const open = async (session: string): Promise<string | Outcome> => {
    const known = ids.get(session);
    if (known !== undefined) return known;
    const begunAt = world.now();
    const settled = await settle(
      call("/v1/sessions", { name: session, systemMessage: systemMessageOf(session) }),
      hangMs,
    );
    const noted = (outcome: "ok" | "hung" | { readonly error: string }): void => {
      journal.calls.push({ client: name, what: `open ${session}`, begunAt, settledAt: world.now(), outcome });
    };
    if (settled.kind === "hung") {
      noted("hung");
      return { kind: "refused", code: "setup_hung", retryAfterMs: undefined };
    }
    if (settled.kind === "error") {
      noted({ error: messageOf(settled.error) });
      return { ...unreachable, code: `setup ${failureOf(settled.error).kind}` };
    }
    const { status, body, retryAfterMs } = settled.value;
    const details = body.details as { readonly id?: string } | undefined;
    const id = status === 201 ? body.id : body.code === "name_taken" ? details?.id : undefined;
    if (typeof id !== "string") {
      noted({ error: String(body.code) });
      return { kind: "refused", code: String(body.code), retryAfterMs };
    }
    noted("ok");
    ids.set(session, id);
    return id;
  };

  /** Asks until the turn has ended, also through cuts and restarts of the node: what was promised runs. */
  const follow = async (turn: string): Promise<Outcome> => {
    const end = world.now() + hangMs;
    while (world.now() < end) {
      const asked = await settle(call(turn), hangMs);
      if (asked.kind === "ok" && asked.value.status !== 503) {
        const { status, body } = asked.value;
        const ended = status === 200 ? endOf(body) : toldBy(asked.value);
        if (ended !== undefined) return ended;
      }
      await sleep(pollEveryMs);
    }
    return { kind: "hung" };
  };

  /** Asks to end the turn in a while; returns what keeps it from that. */
  const abortLater = (turn: string, ms: number | undefined): (() => void) => {
    if (ms === undefined) return () => undefined;
    const timer = setTimeout(async () => {
      const begunAt = world.now();
      const asked = await settle(call(`${turn}/abort`, {}), hangMs);
      const outcome =
        asked.kind === "error"
          ? { error: messageOf(asked.error) }
          : asked.kind === "hung"
            ? asked.kind
            : asked.value.status === 200
              ? ("ok" as const)
              : { error: String(asked.value.body.code) };
      journal.calls.push({ client: name, what: "abort", begunAt, settledAt: world.now(), outcome });
    }, ms);
    return () => clearTimeout(timer);
  };

  const followEnding = async (turn: string, { abortAfterMs }: Manner): Promise<Outcome> => {
    const stay = abortLater(turn, abortAfterMs);
    try {
      return await follow(turn);
    } finally {
      stay();
    }
  };

  const ask = async (messages: string, body: Body): Promise<Outcome> => {
    const settled = await settle(call(messages, body), hangMs);
    if (settled.kind === "hung") return settled;
    return settled.kind === "error" ? failureOf(settled.error) : toldBy(settled.value);
  };

  const askThenPoll = async (session: string, body: Body, manner: Manner): Promise<Outcome> => {
    const settled = await settle(call(`${session}/messages?wait=false`, body), hangMs);
    if (settled.kind === "hung") return settled;
    if (settled.kind === "error") return failureOf(settled.error);
    if (settled.value.status !== 202) return toldBy(settled.value);
    manner.onTaken?.();
    return followEnding(`${session}/turns/${settled.value.body.turnId}`, manner);
  };

  /** The stream's own end, or undefined when it was cut; the answer in it must be the one that its events told. */
  const readTurn = async (
    stream: AsyncIterable<Uint8Array>,
    onAccepted: (turnId: string) => void,
  ): Promise<Outcome | undefined> => {
    let outcome: Outcome | undefined;
    let said = "";
    const parser = createParser({
      onEvent({ event, data }) {
        const body = JSON.parse(data) as Body;
        const content = (body.data as Body | undefined)?.content;
        if (event === "turn.accepted") onAccepted(String(body.turnId));
        else if (event === "assistant.message" && typeof content === "string" && content !== "")
          said = content;
        else if (event === "turn.completed")
          outcome =
            body.content === said
              ? { kind: "answered", content: said, turnId: String(body.turnId) }
              : { kind: "failed", code: "other_events", message: `${said} instead of ${body.content}` };
        else if (event !== undefined && /^(turn|stream)\./.test(event))
          outcome = outcomeOf(String(body.code), String(body.detail));
      },
    });
    const decoder = new TextDecoder();
    try {
      for await (const chunk of stream) parser.feed(decoder.decode(chunk, { stream: true }));
    } catch {
      // The connection is gone; the turn goes on.
    }
    return outcome;
  };

  const askForEvents = async (session: string, body: Body, manner: Manner): Promise<Outcome> => {
    const headers = { accept: "text/event-stream" };
    const settled = await settle(send(`${session}/messages`, body, headers), hangMs);
    if (settled.kind === "hung") return settled;
    if (settled.kind === "error") return failureOf(settled.error);
    if (settled.value.statusCode !== 200) return toldBy(await answerOf(settled.value));
    let turn: string | undefined;
    let stay = (): void => undefined;
    const read = readTurn(settled.value.body, (turnId) => {
      turn = `${session}/turns/${turnId}`;
      manner.onTaken?.();
      stay = abortLater(turn, manner.abortAfterMs);
    });
    const outcome = await settle(read, hangMs);
    stay();
    if (outcome.kind === "hung") return outcome;
    if (outcome.kind === "error") return failureOf(outcome.error);
    if (outcome.value !== undefined) return outcome.value;
    return turn === undefined ? { kind: "lost", reason: "The stream had no begin." } : follow(turn);
  };

  return {
    async say(session, prompt, manner) {
      const id = await open(session);
      if (typeof id !== "string") return id;
      const body = { prompt, ...(manner.steer === true && { onBusy: "steer" }) };
      const path = `/v1/sessions/${id}`;
      switch (manner.form ?? "whole") {
        case "whole":
          return ask(`${path}/messages`, body);
        case "events":
          return askForEvents(path, body, manner);
        case "poll":
          return askThenPoll(path, body, manner);
      }
    },
    async cut() {
      cutting.abort();
      cutting = new AbortController();
    },
    close: () => dispatcher.destroy(),
  };
};
