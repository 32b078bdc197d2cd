import type { Transcript } from "./session-program.ts";

/**
 * Events that race with the conversation may fall just behind the end of their step, on a bare runtime too: they are
 * counted over the whole program. The text of the system message is the server's for a plain client (docs/equality.md);
 * for one in mode "empty" it is equal too.
 */
export const comparable = (transcript: Transcript | undefined, mode: "plain" | "empty"): unknown => {
  const raced: Record<string, number> = {};
  const phases = transcript?.phases.map(({ floating, ...phase }) => {
    for (const [client, counts] of Object.entries(floating)) {
      for (const [type, count] of Object.entries(counts)) {
        raced[`${client} ${type}`] = (raced[`${client} ${type}`] ?? 0) + count;
      }
    }
    return phase;
  });
  return JSON.parse(JSON.stringify({ ...transcript, phases, raced }), (_key, value) =>
    mode === "plain" && value?.type === "system.message"
      ? { type: value.type, length: value.data.content.length > 1000 }
      : value,
  );
};
