import { CopilotClient, type CopilotSession, RuntimeConnection } from "@github/copilot-sdk";
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

/** A connection that has ended answers nothing any more, and the SDK does not say so by itself. */
const isGone = (error: unknown): boolean =>
  codeOf(error) === undefined &&
  /closed|disposed|not connected|ECONNRESET|EPIPE|Timeout after/i.test(messageOf(error));

const isRefusedConnection = (error: unknown): boolean => /ECONNREFUSED/.test(messageOf(error));

/** An unmodified SDK client that connects again when its connection has ended, and opens its sessions again then. */
export const createSdkActor = ({ name, user, world, journal, hangMs }: ActorOptions): Actor => {
  let client: CopilotClient | undefined;
  let sessions = new Map<string, CopilotSession>();
  const made = new Set<string>();

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
    if (isRefusedConnection(error)) return unreachable;
    if (isGone(error)) return { kind: "lost", reason: messageOf(error) };
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
      made.has(session)
        ? client.resumeSession(session, config)
        : client.createSession({ ...config, sessionId: session }),
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

  /** Resolves when the connection has ended, as far as a client can find out. */
  const connectionEnd = async (of: CopilotClient, signal: AbortSignal): Promise<Outcome> => {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, pingEveryMs));
      if (signal.aborted) return { kind: "hung" };
      // What was on its way when the connection ended is never answered; the next one is refused.
      const pinged = await settle(of.ping(), pingDeadlineMs);
      if (pinged.kind === "error" && isGone(pinged.error)) {
        return { kind: "lost", reason: messageOf(pinged.error) };
      }
    }
  };

  return {
    async say(session, prompt) {
      const opened = await open(session);
      if ("kind" in opened) return opened;
      const { signal, stop } = stopper();
      let told: Outcome | undefined;
      const unsubscribe = opened.on("session.error", ({ data }) => {
        const { errorType, message } = data;
        const code = "code" in data && typeof data.code === "string" ? data.code : undefined;
        if (code !== undefined) told ??= outcomeOf(code, message);
        // The protocol's words have no code: the text says what it is.
        else if (/\bstore\b/i.test(message)) told ??= { kind: "failed", code: "store_unavailable", message };
        else if (errorType === "squadron") told ??= { kind: "interrupted", code: "session.error" };
        else told ??= { kind: "failed", code: errorType, message };
      });
      const answer = opened.sendAndWait(prompt, hangMs + 1_000).then(
        (event): Outcome => ({ kind: "answered", content: event?.data.content ?? "", turnId: undefined }),
        (error: unknown): Outcome => told ?? failure(error),
      );
      try {
        const current = client;
        const ended = current === undefined ? answer : Promise.race([answer, connectionEnd(current, signal)]);
        const settled = await settle(ended, hangMs);
        const outcome: Outcome = settled.kind === "ok" ? settled.value : { kind: "hung" };
        if (outcome.kind === "lost") await drop();
        if (outcome.kind === "hung") sessions.delete(session);
        return outcome;
      } finally {
        unsubscribe();
        stop();
      }
    },
    close: drop,
  };
};

const stopper = (): { readonly signal: AbortSignal; stop(): void } => {
  const controller = new AbortController();
  return { signal: controller.signal, stop: () => controller.abort() };
};
