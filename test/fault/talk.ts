import type { Random } from "./random.ts";

/** What a session's system message says, so that every answer shows whose session it came from. */
export const secretOf = (session: string): string => `secret-of-${session}-end`;

export const systemMessageOf = (session: string): string => `The word is ${secretOf(session)}.`;

export interface Prompt {
  readonly text: string;
  readonly recalls: boolean;
}

/** Earlier messages are repeated only while they are few: each answer grows by all of them. */
const recallUpTo = 15;

/**
 * A message for the scripted model. The answer has the marker, the number of user messages of the history, whether the
 * system message has this session's secret, sometimes the earlier messages, and a tail of seeded length and slowness.
 */
export const promptFor = (
  marker: string,
  session: string,
  { random, earlier }: { readonly random: Random; readonly earlier: number },
): Prompt => {
  const recalls = earlier <= recallUpTo;
  const tail = random.percent(25)
    ? ` [[tokens ${5 + random.below(20)}]] [[delay ${5 + random.below(20)}]]`
    : "";
  const recall = recalls ? " [[echo |]] [[recall]] [[echo |]]" : "";
  return {
    text: `${marker} [[echo ${marker}]] [[count]] [[knows ${secretOf(session)}]]${recall}${tail}`,
    recalls,
  };
};

/** The marker that a prompt begins with. */
export const markerIn = (content: string): string => /^\S+/.exec(content)?.[0] ?? "";

/** An answer in its parts; undefined when it is no answer to such a prompt. */
export interface Answer {
  readonly marker: string;
  readonly count: number;
  readonly knows: boolean;
  readonly recalled: string | undefined;
}

export const readAnswer = (content: string): Answer | undefined => {
  const found = /^(\S+) (\d+) (yes|no)(?: \|(.*)\|)?/s.exec(content);
  const [, marker, count, knows, recalled] = found ?? [];
  if (marker === undefined) return undefined;
  return { marker, count: Number(count), knows: knows === "yes", recalled };
};
