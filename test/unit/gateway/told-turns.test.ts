import { expect, it } from "vitest";
import { withTurnsTold } from "../../../src/gateway/told-turns.ts";
import type { TurnRows } from "../../../src/gateway/turn-rows.ts";
import type { Sender } from "../../../src/gateway/vocabulary.ts";
import { createTurn } from "../../../src/sessions/turn.ts";
import type { TurnEnd } from "../../../src/store/store.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const turnOf = (id: string) =>
  createTurn<Sender>({
    id,
    sender: { id: "c", principal: { tenant: "acme", user: "alice", roles: [] }, open: true } as Sender,
    parameters: {},
    queuedAt: 0,
  });

it("readers hear of each state of a turn once, and only when it is stored", async () => {
  const told: string[] = [];
  let stored = (): void => undefined;
  const storing = (): Promise<void> =>
    new Promise((resolve) => {
      stored = resolve;
    });
  const end = (id: string, joined: string | null): TurnEnd => ({
    id,
    state: "refused",
    endedAt: 0,
    runtimeMessageId: null,
    reason: "why",
    content: null,
    joined,
    inputTokens: 0,
    outputTokens: 0,
  });
  const rows = withTurnsTold(
    {
      accepted: storing,
      begun: storing,
      endsOf: ({ turn, joined }) => [end(turn.id, null), ...joined.map(({ id }) => end(id, turn.id))],
      ended: async () => undefined,
    } as Partial<TurnRows> as TurnRows,
    {
      clock: new ManualClock(),
      waiting: () => [turnOf("t0"), turn],
      tell: ({ type, id, data }) => {
        const event = JSON.parse(data().toString());
        expect([id, event.ephemeral, event.data.by]).toEqual([undefined, true, "alice"]);
        const { turnId, place, reason, joined } = event.data;
        told.push(`${type} ${turnId} ${place ?? ""}${reason ?? ""}${joined ?? ""}`.trim());
      },
    },
  );
  const [turn, joined, unheard] = [turnOf("t1"), turnOf("t2"), turnOf("t3")];
  const queued = rows.accepted(turn);
  stored();
  await queued;
  const again = rows.accepted(turn);
  stored();
  await again;
  expect(told).toEqual(["turn.queued t1 2"]);
  const begun = rows.begun(turn);
  expect(told.length).toBe(1);
  stored();
  await begun;
  const delivered = rows.begun(joined);
  stored();
  await delivered;
  const ending = { turn, joined: [joined, unheard], outcome: { kind: "refused", error: "x" } } as const;
  rows.ended(ending);
  rows.ended(ending);
  expect(told).toEqual([
    "turn.queued t1 2",
    "turn.running t1",
    "turn.running t2",
    "turn.failed t1 why",
    "turn.failed t2 whyt1",
  ]);
});
