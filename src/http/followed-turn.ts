import type { Sender } from "../gateway/vocabulary.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Turn, TurnOutcome } from "../sessions/turn.ts";
import type { OwnedSession, TurnRow } from "../store/store.ts";
import type { HttpContext } from "./context.ts";

/** A turn as whoever waits for it needs it: one of this node, or one that is known by its row alone. */
export type FollowedTurn = Pick<Turn<Sender>, "id" | "ended"> & Partial<Pick<Turn<Sender>, "state">>;

/** How often the row of a turn that another node has is looked at. */
const pollMs = 250;

const outcomeOf = (row: TurnRow): TurnOutcome | undefined => {
  const { inputTokens, outputTokens } = row;
  const said = { content: row.content ?? "", usage: { inputTokens, outputTokens } };
  const reason = row.reason ?? "";
  switch (row.state) {
    case "accepted":
    case "begun":
      return undefined;
    case "completed":
      return { kind: "completed", ...said };
    case "failed":
      return { kind: "failed", reason: "error", message: reason, ...said };
    case "aborted":
      return { kind: "aborted", ...said };
    case "interrupted":
      return { kind: "interrupted", message: reason };
    case "refused":
      return { kind: "refused", error: new SquadronError("turn_failed", reason) };
  }
};

/** Follows a turn that somebody else has asked for to its end, or until the signal aborts. */
export const followTurn = async (
  { store, gateway, clock }: Pick<HttpContext, "store" | "gateway" | "clock">,
  session: OwnedSession,
  turnId: string,
  signal: AbortSignal,
): Promise<FollowedTurn> => {
  const { hosts } = gateway.services;
  const live = hosts.find(session.id)?.findTurn(turnId);
  if (live !== undefined) return live;

  const look = async (): Promise<TurnOutcome> => {
    for (;;) {
      const row = await store.turns.byId(session.id, turnId);
      if (row === undefined) throw new SquadronError("not_found", "This turn has been forgotten.");
      const outcome = outcomeOf(row);
      if (outcome !== undefined) return outcome;
      signal.throwIfAborted();
      const { promise, resolve } = Promise.withResolvers<void>();
      const cancel = clock.after(pollMs, resolve);
      const left = (): void => resolve();
      signal.addEventListener("abort", left, { once: true });
      await promise;
      cancel();
      signal.removeEventListener("abort", left);
    }
  };
  return { id: turnId, ended: look() };
};
