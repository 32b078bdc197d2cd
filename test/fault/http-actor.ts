import { Agent, request } from "undici";
import type { Actor, ActorOptions } from "./actor.ts";
import type { Outcome } from "./journal.ts";
import { messageOf, outcomeOf, settle, unreachable } from "./outcomes.ts";
import { systemMessageOf } from "./talk.ts";

interface Answer {
  readonly status: number;
  readonly retryAfterMs: number | undefined;
  readonly body: Readonly<Record<string, unknown>>;
}

const errorCode = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : "";

/** A program that speaks HTTP, a connection per request. */
export const createHttpActor = ({ name, user, world, journal, hangMs }: ActorOptions): Actor => {
  const dispatcher = new Agent({ pipelining: 0, headersTimeout: 0, bodyTimeout: 0 });
  const ids = new Map<string, string>();

  const call = async (path: string, body: unknown): Promise<Answer> => {
    const response = await request(`${world.endpoints.http}${path}`, {
      method: "POST",
      dispatcher,
      headers: { authorization: `Bearer ${user.key}`, "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(hangMs + 1_000),
    });
    const seconds = response.headers["retry-after"];
    return {
      status: response.statusCode,
      retryAfterMs: seconds === undefined ? undefined : Number(seconds) * 1_000,
      body: JSON.parse(await response.body.text()) as Answer["body"],
    };
  };

  const failure = (error: unknown): Outcome =>
    errorCode(error) === "ECONNREFUSED" ? unreachable : { kind: "lost", reason: messageOf(error) };

  const open = async (session: string): Promise<string | Outcome> => {
    const known = ids.get(session);
    if (known !== undefined) return known;
    const begunAt = world.now();
    const settled = await settle(
      call("/v1/sessions", { name: session, systemMessage: systemMessageOf(session) }),
      hangMs,
    );
    const noted = (outcome: "ok" | "hung" | { readonly error: string }): void => {
      journal.calls.push({ client: name, what: `open ${session}`, begunAt, settledAt: world.now(), outcome });
    };
    if (settled.kind === "hung") {
      noted("hung");
      return { kind: "refused", code: "setup_hung", retryAfterMs: undefined };
    }
    if (settled.kind === "error") {
      noted({ error: messageOf(settled.error) });
      return { ...unreachable, code: `setup ${failure(settled.error).kind}` };
    }
    const { status, body, retryAfterMs } = settled.value;
    const details = body.details as { readonly id?: string } | undefined;
    const id = status === 201 ? body.id : body.code === "name_taken" ? details?.id : undefined;
    if (typeof id !== "string") {
      noted({ error: String(body.code) });
      return { kind: "refused", code: String(body.code), retryAfterMs };
    }
    noted("ok");
    ids.set(session, id);
    return id;
  };

  return {
    async say(session, prompt) {
      const id = await open(session);
      if (typeof id !== "string") return id;
      const settled = await settle(call(`/v1/sessions/${id}/messages`, { prompt }), hangMs);
      if (settled.kind === "hung") return settled;
      if (settled.kind === "error") return failure(settled.error);
      const { status, body, retryAfterMs } = settled.value;
      if (status === 200)
        return { kind: "answered", content: String(body.content), turnId: String(body.turnId) };
      if (typeof body.code === "string") return outcomeOf(body.code, String(body.detail), retryAfterMs);
      return { kind: "failed", code: `http ${status}`, message: JSON.stringify(body) };
    },
    close: () => dispatcher.destroy(),
  };
};
