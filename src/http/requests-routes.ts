import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { checkAnswer } from "../gateway/answer-check.ts";
import { mayAnswer } from "../gateway/answer-right.ts";
import type { PersonalAnswer, PersonalKind } from "../gateway/request-answers.ts";
import type { OpenRequest } from "../gateway/request-vocabulary.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { OwnedSession } from "../store/store.ts";
import { callerOf } from "./caller.ts";
import type { HttpApp, HttpContext } from "./context.ts";
import { findSession } from "./found-session.ts";
import { failures, sessionParams, time } from "./schemas.ts";

const tags = ["requests"];

const requestParams = sessionParams.extend({ requestId: z.string().min(1).max(200) });

const text = z.string().max(1_000_000);

const json = z.union([
  text,
  z.number(),
  z.boolean(),
  z.null(),
  z.array(z.unknown()),
  z.record(z.string(), z.unknown()),
]);

const answers = {
  permission: z.strictObject({
    decision: z.enum(["allow", "deny"]),
    reason: z.string().min(1).max(10_000).optional().describe("The model reads it"),
  }),
  user_input: z.strictObject({ answer: text }),
  elicitation: z.strictObject({
    action: z.enum(["accept", "decline", "cancel"]),
    content: z
      .record(z.string(), z.union([text, z.number(), z.boolean(), z.array(text)]))
      .optional()
      .describe("The form's fields, with `accept`"),
  }),
  tool_call: z.union([
    z.strictObject({ result: json.describe("The model reads a text as it is, and all else as JSON") }),
    z.strictObject({ error: z.string().min(1).max(10_000) }),
  ]),
} as const satisfies Record<PersonalKind, z.ZodType>;

const kinds = ["permission", "user_input", "elicitation", "tool_call"] as const satisfies PersonalKind[];

const openRequest = z
  .object({
    id: z.string(),
    kind: z.enum(kinds),
    turnId: z.string().nullable().describe("Null: the session works by itself"),
    for: z.string().nullable().describe("The user whose message is being answered"),
    askedAt: time,
    expiresAt: time.describe("Nobody has answered then: denied"),
    mayAnswer: z.boolean().describe("May you?"),
    detail: z.unknown().describe("What the runtime says of it"),
  })
  .meta({ id: "OpenRequest" });

/** The body as an answer to a question of that kind. */
const answerIn = (kind: PersonalKind, body: unknown): PersonalAnswer => {
  const { data, error } = answers[kind].safeParse(body);
  if (data !== undefined) return { kind, ...data } as PersonalAnswer;
  const field = error.issues[0]?.path.join(".") ?? "";
  throw new SquadronError("invalid_request", `This is no answer to a request of the kind ${kind}.`, {
    details: { in: "body", field, kind },
  });
};

const settled = (): SquadronError =>
  new SquadronError("request_settled", "This request has been answered already, or is no longer open.");

const isoTime = (ms: number): string => new Date(ms).toISOString();

/** What of an answer is written down: a decision, no words. */
const said = (answer: PersonalAnswer): string => {
  switch (answer.kind) {
    case "permission":
      return answer.decision;
    case "elicitation":
      return answer.action;
    case "user_input":
      return "answer";
    case "tool_call":
      return "error" in answer ? "error" : "result";
  }
};

/** What a runtime asks people in a session, and their answers. */
export const requestsRoutes = (app: HttpApp, context: HttpContext): void => {
  const { hosts, audit } = context.gateway.services;

  const mayAnswerAs = (request: FastifyRequest, { role }: OwnedSession, asked: OpenRequest): boolean =>
    mayAnswer(asked.turn?.sender.principal, callerOf(request).principal, role);

  app.get(
    "/v1/sessions/:id/requests",
    {
      schema: {
        operationId: "listRequests",
        summary: "What waits for an answer in the session",
        description:
          "Permission requests, questions to the user, forms and tool calls, the oldest first. The sender of the message that is being answered and the session's owners may answer.",
        tags,
        params: sessionParams,
        response: { 200: z.object({ requests: z.array(openRequest) }), ...failures },
      },
    },
    async (request) => {
      const row = await findSession(context, request, request.params.id);
      const open = hosts.find(row.id)?.requests.list ?? [];
      return {
        requests: open.flatMap((one) => {
          const { id, kind, turn, askedAt, expiresAt } = one;
          if (kind === undefined) return [];
          return {
            id,
            kind,
            turnId: turn?.id ?? null,
            for: turn?.sender.principal.user ?? null,
            askedAt: isoTime(askedAt),
            expiresAt: isoTime(expiresAt),
            mayAnswer: mayAnswerAs(request, row, one),
            detail: one.detail,
          };
        }),
      };
    },
  );

  app.post(
    "/v1/sessions/:id/requests/:requestId",
    {
      schema: {
        operationId: "answerRequest",
        summary: "Answer what the session asks",
        description:
          "The body is that of the request's kind. The first answer counts; a later one is 409 `request_settled`.",
        tags,
        params: requestParams,
        body: z.union(
          Object.values(answers),
          'It must be {decision: "allow" or "deny", reason?}, {answer}, {action: "accept", "decline" or "cancel", content?}, {result} or {error}.',
        ),
        response: {
          200: z.object({ id: z.string(), outcome: z.literal("answered") }),
          ...failures,
        },
      },
    },
    async (request) => {
      const { id, requestId } = request.params;
      const row = await findSession(context, request, id);
      const { principal } = callerOf(request);
      const note = (outcome: string, detail: string): void =>
        audit.record(principal, { action: "request.answer", target: row.publicId, outcome, detail });
      const host = hosts.find(row.id);
      // Another node may have given the user another role.
      if (host !== undefined && host.access.partOf(principal)?.role !== row.role)
        await hosts.partChanged(row.id, principal.user);
      const requests = host?.requests;
      const asked = requests?.find(requestId);
      if (requests === undefined || asked?.kind === undefined) {
        if (requests?.hasEnded(requestId) === true) throw settled();
        throw new SquadronError("not_found", "There is no such request in this session.");
      }
      if (!mayAnswerAs(request, row, asked)) {
        note("forbidden", `${asked.kind} ${requestId}`);
        throw new SquadronError(
          "forbidden",
          "The sender of the message that is being answered and the owners of the session answer this.",
          { details: { role: row.role, needed: "owner" } },
        );
      }
      const answer = answerIn(asked.kind, request.body);
      checkAnswer(asked.detail, answer);
      if (!(await requests.answer(requestId, principal, () => asked.give(answer)))) throw settled();
      note("ok", `${asked.kind} ${requestId}: ${said(answer)}`);
      return { id: requestId, outcome: "answered" as const };
    },
  );
};
