import type { CopilotSession } from "@github/copilot-sdk";
import type { Contender } from "./contenders.ts";

const turnDeadlineMs = 60_000;

/** One turn as its client saw it; times in milliseconds from the call of `send`. */
export interface TurnSample {
  readonly totalMs: number;
  /** Until the first `assistant.message_delta`. */
  readonly firstTokenMs: number;
  readonly events: number;
}

/** A new session; equal for all contenders. */
export const openSession = ({ client, provider }: Contender): Promise<CopilotSession> =>
  client.createSession({
    model: "scripted-1",
    streaming: true,
    availableTools: ["custom:*"],
    ...(provider && { provider }),
  });

/** Asks, and waits for the end of the turn. */
export const runTurn = async (session: CopilotSession, prompt: string): Promise<TurnSample> => {
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
