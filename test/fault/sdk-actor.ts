import { setTimeout as sleep } from "node:timers/promises";
import {
  CopilotClient,
  type CopilotSession,
  type MessageOptions,
  RuntimeConnection,
} from "@github/copilot-sdk";
import { isObject } from "../../src/kernel/json.ts";
import type { Actor, ActorOptions } from "./actor.ts";
import type { Outcome } from "./journal.ts";
import { messageOf, outcomeOf, type Settled, settle, unreachable } from "./outcomes.ts";
import { systemMessageOf } from "./talk.ts";

const pingEveryMs = 250;
const pingDeadlineMs = 1_000;

const codeOf = (error: unknown): string | undefined => {
  const data = isObject(error) ? error.data : undefined;
  return isObject(data) && typeof data.code === "string" ? data.code : undefined;
};

class LostConnection extends Error {
  constructor(cause: unknown) {
    super("The connection ended before an answer.", { cause });
  }
}

/** On a connection that has ended nothing is sent any more. */
const isClosed = (error: unknown): boolean =>
  codeOf(error) === undefined &&
  /closed|disposed|not connected|ended by the other party/i.test(messageOf(error));
const isBroken = (error: unknown): boolean => /ECONNRESET|EPIPE/.test(messageOf(error));
const isRefusedConnection = (error: unknown): boolean => /ECONNREFUSED/.test(messageOf(error));

/** An unmodified SDK client that connects again when its connection has ended, and opens its sessions again then. */
export const createSdkActor = ({ name, user, world, journal, hangMs, existing }: ActorOptions): Actor => {
  let client: CopilotClient | undefined;
  let sessions = new Map<string, CopilotSession>();
  const made = new Set(existing === undefined ? [] : [existing]);
  let cuts = 0;

  const drop = async (): Promise<void> => {
    const old = client;
    client = undefined;
    sessions = new Map();
    await old?.forceStop();
  };

  const note = (what: string, begunAt: number, settled: Settled<unknown>): void => {
    const outcome =
      settled.kind === "error" ? { error: codeOf(settled.error) ?? messageOf(settled.error) } : settled.kind;
    journal.calls.push({ client: name, what, begunAt, settledAt: world.now(), outcome });
  };

  const failure = (error: unknown): Outcome => {
    const code = codeOf(error);
    if (code !== undefined) return outcomeOf(code, messageOf(error));
    if (error instanceof LostConnection) return { kind: "lost", reason: messageOf(error.cause) };
    if (isRefusedConnection(error) || isClosed(error)) return unreachable;
    if (isBroken(error)) return { kind: "lost", reason: messageOf(error) };
    if (/^Timeout after/.test(messageOf(error))) return { kind: "hung" };
    return { kind: "failed", code: "sdk", message: messageOf(error) };
  };

  const open = async (session: string): Promise<CopilotSession | Outcome> => {
    const present = sessions.get(session);
    if (present !== undefined) return present;
    client ??= new CopilotClient({
      connection: RuntimeConnection.forUri(`127.0.0.1:${world.endpoints.sdkPort}`, {
        connectionToken: user.key,
      }),
    });
    const config = {
      streaming: true,
      systemMessage: { mode: "append", content: systemMessageOf(session) },
      onPermissionRequest: async () => ({ kind: "approve-once" as const }),
    } as const;
    const begunAt = world.now();
    const settled = await settle(
      whileConnected(
        client,
        made.has(session)
          ? client.resumeSession(session, config)
          : client.createSession({ ...config, sessionId: session }),
      ),
      hangMs,
    );
    note(`${made.has(session) ? "resume" : "create"} ${session}`, begunAt, settled);
    switch (settled.kind) {
      case "ok":
        made.add(session);
        sessions.set(session, settled.value);
        return settled.value;
      case "hung":
        await drop();
        return { kind: "refused", code: "setup_hung", retryAfterMs: undefined };
      case "error": {
        const told = failure(settled.error);
        if (codeOf(settled.error) === undefined) await drop();
        // Nothing was sent yet, whatever it was.
        const code = "code" in told ? told.code : told.kind;
        return { kind: "refused", code, retryAfterMs: 200 };
      }
    }
  };

  /** Asks to end this connection's turns in a while; returns what keeps it from that. */
  const abortLater = (opened: CopilotSession, ms: number) => {
    let asked = false;
    const timer = setTimeout(async () => {
      asked = true;
      const begunAt = world.now();
      note("abort", begunAt, await settle(opened.abort(), hangMs));
    }, ms);
    return { asked: () => asked, cancel: () => clearTimeout(timer) };
  };

  return {
    async say(session, prompt, { byId = false, steer = false, abortAfterMs }) {
      const cutsBefore = cuts;
      const opened = await open(session);
      if ("kind" in opened) return opened;
      const current = client;
      if (current === undefined) return unreachable;
      const told = errorsOf(opened);
      const message: MessageOptions = { prompt, ...(steer && { mode: "immediate" }) };
      const aborting = abortAfterMs === undefined ? undefined : abortLater(opened, abortAfterMs);
      const call = (
        byId
          ? askById(opened, message, told.first)
          : askAndWait(opened, message, hangMs, () => aborting?.asked() === true)
      ).catch((error: unknown): Outcome => told.outcome() ?? failure(error));
      try {
        const settled = await settle(
          whileConnected(current, call).catch((error: unknown): Outcome => failure(error)),
          hangMs,
        );
        const outcome: Outcome = settled.kind === "ok" ? settled.value : { kind: "hung" };
        if (cuts !== cutsBefore && outcome.kind !== "answered")
          return { kind: "lost", reason: "The client has cut its connection." };
        if (outcome === unreachable || outcome.kind === "lost") await drop();
        if (outcome.kind === "hung") sessions.delete(session);
        return outcome;
      } finally {
        aborting?.cancel();
        told.stop();
      }
    },
    cut() {
      cuts++;
      return drop();
    },
    close: drop,
  };
};

/** The SDK leaves what was pending when its connection ended without an answer; a client can find out with pings. */
const whileConnected = async <T>(client: CopilotClient, work: Promise<T>): Promise<T> => {
  const done = new AbortController();
  const watch = async (): Promise<never> => {
    for (;;) {
      await sleep(pingEveryMs, undefined, { signal: done.signal });
      // A ping that was on its way then has no answer either; the next one is refused.
      const pinged = await settle(client.ping(), pingDeadlineMs);
      if (pinged.kind === "error" && isClosed(pinged.error)) throw new LostConnection(pinged.error);
    }
  };
  try {
    return await Promise.race([work, watch()]);
  } finally {
    done.abort();
  }
};

/** What `session.error` says of a message, from now on. */
const errorsOf = (session: CopilotSession) => {
  const { promise: first, resolve } = Promise.withResolvers<Outcome>();
  let outcome: Outcome | undefined;
  const stop = session.on("session.error", ({ data: { errorType, message } }) => {
    // The protocol's words have no code: the text says what it is.
    if (/\bstore\b/i.test(message)) outcome ??= { kind: "failed", code: "store_unavailable", message };
    else if (errorType === "squadron") outcome ??= { kind: "interrupted", code: "session.error", message };
    else outcome ??= { kind: "failed", code: errorType, message };
    resolve(outcome);
  });
  return { first, outcome: () => outcome, stop };
};

/** As every program does that is alone in its session. */
const askAndWait = async (
  session: CopilotSession,
  message: MessageOptions,
  hangMs: number,
  mayBeAborted: () => boolean,
): Promise<Outcome> => {
  const seen: string[] = [];
  let aborted = false;
  const unsubscribe = session.on(({ type, data }) => {
    seen.push(`${Math.round(performance.now() - begunAt)} ${type}`);
    if (type === "session.idle") aborted = data.aborted === true;
  });
  const begunAt = performance.now();
  try {
    const event = await session.sendAndWait(message, hangMs + 1_000);
    // With an idle that says so the SDK gives the last answer that it saw, whosever that was; or there is none.
    if (aborted || (event === undefined && mayBeAborted()))
      return { kind: "failed", code: "turn_aborted", message: "It was taken back." };
    const content = event?.data.content ?? `nothing, after ${seen.join(", ")}`;
    return { kind: "answered", content, turnId: undefined };
  } finally {
    unsubscribe();
  }
};

/**
 * As a program must that is not alone: the SDK takes the next idle for the end of its own message, and that of somebody
 * else's may be on its way while it sends. The answer is found by the message's id here.
 */
const askById = async (
  session: CopilotSession,
  message: MessageOptions,
  error: Promise<Outcome>,
): Promise<Outcome> => {
  const answers = new Map<string, string>();
  /** Those after which an idle has come. */
  const ended = new Set<string>();
  const { promise: done, resolve } = Promise.withResolvers<void>();
  let messageId: string | undefined;
  const look = (): void => {
    if (messageId !== undefined && ended.has(messageId)) resolve();
  };
  const unsubscribe = session.on((event) => {
    if (event.type === "session.idle") {
      for (const id of answers.keys()) ended.add(id);
      look();
    }
    if (event.type !== "assistant.message" || event.data.content === "") return;
    const origin = event.data.originatingMessageId;
    if (origin !== undefined) answers.set(origin, event.data.content);
  });
  try {
    messageId = await session.send(message);
    look();
    const failed = await Promise.race([done, error]);
    if (failed !== undefined) return failed;
    return { kind: "answered", content: answers.get(messageId) ?? "", turnId: messageId };
  } finally {
    unsubscribe();
  }
};
