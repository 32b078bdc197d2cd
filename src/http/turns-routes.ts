import { z } from "zod";
import { SquadronError } from "../kernel/errors.ts";
import type { TurnRow } from "../store/store.ts";
import { callerOf } from "./caller.ts";
import { askOnce } from "./connection.ts";
import type { HttpApp, HttpContext } from "./context.ts";
import { findSession, requirePart } from "./found-session.ts";
import { cursor, failures, limit, sessionParams, time, usage } from "./schemas.ts";

const tags = ["turns"];

const turnParams = sessionParams.extend({
  turnId: z
    .string()
    .min(1)
    .max(200)
    .describe("As the message's answer has it, or the id of the message in events"),
});

const turn = z
  .object({
    id: z.string(),
    state: z.enum(["queued", "running", "completed", "failed", "aborted", "interrupted"]),
    by: z.string().describe("The user who asked"),
    place: z.int().nullable().describe("1: it is the next to run. Null when it does not wait"),
    acceptedAt: time,
    begunAt: time.nullable(),
    endedAt: time.nullable(),
    content: z
      .string()
      .nullable()
      .describe("The answer; what there was of it when the turn did not complete"),
    reason: z.string().nullable().describe("Why it did not complete"),
    usage,
    joined: z
      .string()
      .nullable()
      .describe("The turn that this message was delivered into, whose answer is its own"),
  })
  .meta({ id: "Turn" });

const waitingTurn = z.object({ turnId: z.string(), by: z.string() });

const abortedTurns = z.object({
  aborted: z.boolean().describe("false: nothing of yours ran or waited"),
  turns: z.array(z.string()).describe("Ids of the turns that this has ended, or is ending"),
});

const isoTime = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

const states: Readonly<Record<TurnRow["state"], z.infer<typeof turn>["state"]>> = {
  accepted: "queued",
  begun: "running",
  completed: "completed",
  failed: "failed",
  aborted: "aborted",
  interrupted: "interrupted",
  // It has never begun; `reason` says why.
  refused: "failed",
};

/** Turns as facts: what became of a message, what waits, and how to take it back. */
export const turnsRoutes = (app: HttpApp, context: HttpContext): void => {
  const { store, gateway } = context;

  const describe = (row: TurnRow) => {
    const waiting = gateway.services.hosts.find(row.sessionId)?.waiting ?? [];
    const at = waiting.findIndex(({ id }) => id === row.id);
    return {
      id: row.id,
      state: states[row.state],
      by: row.sender,
      place: at < 0 ? null : at + 1,
      acceptedAt: new Date(row.acceptedAt).toISOString(),
      begunAt: isoTime(row.begunAt),
      endedAt: isoTime(row.endedAt),
      content: row.content,
      reason: row.reason,
      usage: { inputTokens: row.inputTokens, outputTokens: row.outputTokens },
      joined: row.joined,
    };
  };

  const turnOf = async (sessionId: string, turnId: string): Promise<TurnRow> => {
    const row = await store.turns.byId(sessionId, turnId);
    if (row === undefined) throw new SquadronError("not_found", "There is no such turn in this session.");
    return row;
  };

  app.get(
    "/v1/sessions/:id/turns",
    {
      schema: {
        operationId: "listTurns",
        summary: "The turns of a session, the last accepted first",
        description: "Of turns that have ended, the newest 1,000 are kept.",
        tags,
        params: sessionParams,
        querystring: z.strictObject({ cursor: cursor.optional(), limit: limit(200) }),
        response: { 200: z.object({ turns: z.array(turn), next: z.string().optional() }), ...failures },
      },
    },
    async (request) => {
      const { id } = await findSession(context, request, request.params.id);
      const { cursor, limit } = request.query;
      const rows = await store.turns.list(id, {
        limit: limit + 1,
        ...(cursor !== undefined && { before: { id: cursor } }),
      });
      const turns = rows.slice(0, limit);
      const last = turns.at(-1);
      return {
        turns: turns.map(describe),
        ...(rows.length > limit && last !== undefined && { next: last.id }),
      };
    },
  );

  app.get(
    "/v1/sessions/:id/turns/:turnId",
    {
      schema: {
        operationId: "getTurn",
        summary: "What became of a message",
        tags,
        params: turnParams,
        response: { 200: turn, ...failures },
      },
    },
    async (request) => {
      const { id } = await findSession(context, request, request.params.id);
      return describe(await turnOf(id, request.params.turnId));
    },
  );

  app.get(
    "/v1/sessions/:id/queue",
    {
      schema: {
        operationId: "getQueue",
        summary: "Who is being answered, and who waits, in order",
        tags,
        params: sessionParams,
        response: {
          200: z.object({ running: waitingTurn.nullable(), waiting: z.array(waitingTurn) }),
          ...failures,
        },
      },
    },
    async (request) => {
      const { id } = await findSession(context, request, request.params.id);
      const host = gateway.services.hosts.find(id);
      const [running = null, ...waiting] = [host?.turn, ...(host?.waiting ?? [])].map((one) =>
        one === undefined ? null : { turnId: one.id, by: one.sender.principal.user },
      );
      return { running, waiting: waiting.filter((one) => one !== null) };
    },
  );

  app.post(
    "/v1/sessions/:id/abort",
    {
      schema: {
        operationId: "abortTurns",
        summary: "Abort your running turn and take back what you have waiting",
        description: "The turns of others go on.",
        tags,
        params: sessionParams,
        response: { 200: abortedTurns, ...failures },
      },
    },
    async (request, reply) => {
      const row = await findSession(context, request, request.params.id);
      requirePart(context, request, row, "writer", "aborting turns");
      const { name, id } = row;
      const host = gateway.services.hosts.find(id);
      if (host?.busy !== true) return { aborted: false, turns: [] };
      const isFounder = row.owner === callerOf(request).principal.user;
      const nobodyAsked = isFounder && host.turn === undefined && host.waiting.length === 0;
      const turns = await askOnce(context, request, reply, async (connection) => {
        await connection.watch(name);
        if (!nobodyAsked) return (await connection.abort(name)).turns;
        await connection.request("session.abort", { sessionId: name });
        return [];
      });
      return { aborted: nobodyAsked || turns.length > 0, turns: turns.map((one) => one.id) };
    },
  );

  app.post(
    "/v1/sessions/:id/turns/:turnId/abort",
    {
      schema: {
        operationId: "abortTurn",
        summary: "Abort one of your turns, or take back its message while it waits",
        tags,
        params: turnParams,
        response: { 200: abortedTurns, ...failures },
      },
    },
    async (request, reply) => {
      const { name, id } = await findSession(context, request, request.params.id);
      const row = await turnOf(id, request.params.turnId);
      if (row.endedAt !== null) return { aborted: false, turns: [] };
      const { turns } = await askOnce(context, request, reply, async (connection) => {
        await connection.watch(name);
        return connection.abort(name, row.id);
      });
      // One's own that could not be aborted is being stored, or was delivered into another's turn.
      const foreign = row.sender !== callerOf(request).principal.user;
      if (foreign && turns.length === 0 && (await turnOf(id, row.id)).endedAt === null) {
        const entry = {
          action: "turn.abort",
          target: request.params.id,
          outcome: "forbidden",
          detail: row.id,
        };
        gateway.services.audit.record(callerOf(request).principal, entry);
        throw new SquadronError("forbidden", "Only who has sent a message may abort its turn.");
      }
      return { aborted: turns.length > 0, turns: turns.map((one) => one.id) };
    },
  );
};
