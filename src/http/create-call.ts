import type { z } from "zod";
import type { model, systemMessage } from "./schemas.ts";

/** The parameters with which an SDK client would create such a session. */
export const createCall = (
  name: string,
  asked: {
    readonly model?: z.infer<typeof model> | undefined;
    readonly systemMessage?: z.infer<typeof systemMessage> | undefined;
  },
): Record<string, unknown> => ({
  sessionId: name,
  clientName: "squadron-http",
  streaming: true,
  ...(asked.model !== undefined && { model: asked.model }),
  ...(asked.systemMessage !== undefined && {
    systemMessage:
      typeof asked.systemMessage === "string"
        ? { mode: "append", content: asked.systemMessage }
        : asked.systemMessage,
  }),
});
