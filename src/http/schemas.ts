import { z } from "zod";
import { durationForm, formatDuration, parseDuration } from "../kernel/units.ts";

/** Every error response; `code` is stable, `detail` is for people. */
export const problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.string(),
    details: z.record(z.string(), z.unknown()),
    instance: z.string(),
    requestId: z.string(),
  })
  .meta({ id: "Problem" });

/** What every route may answer instead of what it is for. */
export const failures = {
  default: {
    description: "An error; the table at /docs#errors has every code.",
    content: { "application/problem+json": { schema: problem } },
  },
} as const;

export const time = z.iso.datetime().describe("UTC");
export const usage = z.object({ inputTokens: z.int(), outputTokens: z.int() }).meta({ id: "Usage" });
export const visibility = z
  .enum(["private", "shared"])
  .describe("A mark that is kept. It lets nobody in: that is what participants and invites are for");
export const cursor = z.string().min(1).max(500).describe("`next` of the page before");
export const limit = (most: number) => z.coerce.number().int().min(1).max(most).default(Math.min(50, most));

/** Milliseconds of what a client gives as a duration; undefined for what is none. */
export const durationMs = (given: string | number): number | undefined =>
  typeof given === "number" ? given : parseDuration(given);

interface Range {
  readonly min: number;
  readonly max: number;
}

const durationWhat = ({ min, max }: Range): string =>
  `${durationForm} or a number of milliseconds, from ${formatDuration(min)} to ${formatDuration(max)}`;

export const durationBetween = (range: Range) =>
  z.union([z.string().max(30), z.int()]).refine(
    (given) => {
      const ms = durationMs(given);
      return ms !== undefined && ms >= range.min && ms <= range.max;
    },
    `It must be ${durationWhat(range)}.`,
  );

const ttlRange: Range = { min: 60_000, max: 3_650 * 86_400_000 };
/** How long a session may lie unused before it is deleted. */
export const ttl = durationBetween(ttlRange).describe(
  `How long it may lie unused before it is deleted: ${durationWhat(ttlRange)}`,
);
export const name = z.string().min(1).max(200);
export const idempotencyHeaders = z.looseObject({
  "idempotency-key": z
    .string()
    .optional()
    .describe(
      "Your name for this request, 1 to 255 visible characters. It has its effect once: sent again with the same key and body, it is answered with what came of the first one.",
    ),
});
export const sessionParams = z.object({
  id: z.string().max(200).describe("The session's public id, `ses_…`"),
});

const maxText = 1_000_000;
export const prompt = z.string().min(1).max(maxText);
export const model = z.string().min(1).max(200);
/** A text alone is appended to the runtime's own system message. */
export const systemMessage = z.union(
  [
    z.string().min(1).max(maxText),
    z.strictObject({ mode: z.enum(["append", "replace"]), content: z.string().min(1).max(maxText) }),
  ],
  "It must be a text, or {mode: append or replace, content}.",
);

export const attachment = z.strictObject({
  type: z.literal("blob"),
  data: z.base64().describe("The content, base64"),
  mimeType: z.string().min(1).max(200),
  displayName: z.string().min(1).max(200).optional(),
});

export const turnAnswer = z
  .object({ turnId: z.string(), content: z.string(), usage })
  .meta({ id: "TurnAnswer" });

const describedSession = z.object({
  id: z.string(),
  name: z.string().describe("The user's own name for it, which SDK clients use as its id"),
  title: z.string().nullable(),
  owner: z.string().describe("The user who made it: its founder"),
  role: z.enum(["owner", "writer", "reader"]).describe("Your own in it"),
  participants: z.int().describe("How many take part, its founder included"),
  visibility,
  senderNames: z.boolean().describe("Is the model told who sends each message?"),
  state: z.enum(["live", "hibernated"]).describe("In a runtime's memory, or only stored"),
  busy: z.boolean(),
  model: z.string().nullable(),
  createdAt: time,
  lastUsedAt: time,
  ttlMs: z.int().nullable().describe("How long it may lie unused; null: as long as the tenant's may"),
  sizeBytes: z.int().describe("Of its stored files"),
  usage,
});
export const session = describedSession.meta({ id: "Session" });
export const administeredSession = describedSession
  .omit({ name: true, title: true, role: true, participants: true })
  .extend({
    tenant: z.string(),
    owner: z.string(),
    isolation: z.enum(["session", "user", "tenant", "shared"]),
    ephemeral: z.boolean(),
  })
  .meta({ id: "AdministeredSession" });

/** A response that is an answer, or the events that lead to it. */
export const answerOrEvents = <T extends z.ZodType>(answer: T) => ({
  description: "The answer; or, when the client accepts text/event-stream, the events of the turn.",
  content: {
    "application/json": { schema: answer },
    "text/event-stream": {
      schema: z
        .string()
        .describe(
          "`turn.accepted`, the turn's events, then one of `turn.completed`, `turn.failed`, `turn.aborted`, `turn.interrupted`, `stream.closed`",
        ),
    },
  },
});
