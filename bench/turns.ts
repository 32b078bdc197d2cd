import type { CopilotSession, ProviderConfig } from "@github/copilot-sdk";
import type { Contender } from "./contenders.ts";

const turnDeadlineMs = 60_000;

/** A turn whose answer is streamed in 50 tokens. */
export const smallPrompt = "[[tokens 50]]";

/** One turn as its client saw it; times in milliseconds from the call of `send`. */
export interface TurnSample {
  readonly totalMs: number;
  /** Until the first `assistant.message_delta`. */
  readonly firstTokenMs: number;
  readonly events: number;
}

/** With what every session is created and resumed; bare ones bring their provider. */
export const sessionConfig = (provider?: ProviderConfig) => ({
  model: "scripted-1",
  streaming: true,
  availableTools: ["custom:*"],
  ...(provider && { provider }),
});

/** A new session; equal for all contenders. */
export const openSession = ({
  client,
  provider,
}: Pick<Contender, "client" | "provider">): Promise<CopilotSession> =>
  client.createSession(sessionConfig(provider));

/** Asks, and waits for the end of the turn. */
export const runTurn = async (session: CopilotSession, prompt = smallPrompt): Promise<TurnSample> => {
  let firstTokenAt: number | undefined;
  let events = 0;
  const stopListening = session.on((event) => {
    events++;
    if (event.type === "assistant.message_delta") firstTokenAt ??= performance.now();
  });
  try {
    const startedAt = performance.now();
    await session.sendAndWait({ prompt }, turnDeadlineMs);
    const endedAt = performance.now();
    if (firstTokenAt === undefined) throw new Error(`The turn "${prompt}" streamed nothing.`);
    return { totalMs: endedAt - startedAt, firstTokenMs: firstTokenAt - startedAt, events };
  } finally {
    stopListening();
  }
};

/** Sends all messages at once, and waits for the end of the last turn. */
export const runQueued = async (
  session: CopilotSession,
  turns: number,
  prompt = smallPrompt,
): Promise<void> => {
  const { promise: idle, resolve } = Promise.withResolvers<void>();
  let answers = 0;
  const stopListening = session.on((event) => {
    if (event.type === "assistant.message") answers++;
    // A client is told the end of its last turn only.
    if (event.type === "session.idle" && answers === turns) resolve();
  });
  const timer = setTimeout(resolve, turnDeadlineMs);
  try {
    await Promise.all(Array.from({ length: turns }, () => session.send({ prompt })));
    await idle;
    if (answers !== turns) throw new Error(`Of ${turns} messages ${answers} were answered.`);
  } finally {
    clearTimeout(timer);
    stopListening();
  }
};
