import { describe, expect, it, vi } from "vitest";
import { withTurnsTold } from "../../../src/gateway/told-turns.ts";
import { createTurnRows } from "../../../src/gateway/turn-rows.ts";
import type { Sender } from "../../../src/gateway/vocabulary.ts";
import { abortedUnbegun, createTurn } from "../../../src/sessions/turn.ts";
import type { SessionRow, Store, TurnStore } from "../../../src/store/store.ts";
import type { Log } from "../../../src/telemetry/log.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

const turnOf = (id: string) =>
  createTurn<Sender>({
    id,
    sender: { id: "c", principal: { tenant: "acme", user: "alice" }, open: true } as Sender,
    parameters: {},
    queuedAt: 0,
  });

const setUp = (turns: Partial<TurnStore>, row: Partial<SessionRow> = {}) => {
  const clock = new ManualClock();
  const rows = createTurnRows({
    store: { turns } as Store,
    clock,
    log: { error: () => undefined } as unknown as Log,
    row: { id: "s1", tenant: "acme", ephemeral: false, ...row } as SessionRow,
  });
  return { clock, rows };
};

describe("rows of turns", () => {
  it("are none for a one-shot session, whose turns end all the same", async () => {
    const { clock, rows } = setUp({}, { ephemeral: true });
    const told = withTurnsTold(rows, { clock, tell: () => undefined, waiting: () => [] });
    const turn = turnOf("t1");
    await told.begun(turn);
    told.ended({ turn, joined: [], outcome: abortedUnbegun });
  });

  it("owe no more ends than there may be rows, however many messages come while nothing can be stored", async () => {
    const full = new Error("the disk is full");
    const end = vi.fn<TurnStore["end"]>(async () => {
      throw full;
    });
    const insert = vi.fn<TurnStore["insert"]>(async () => {
      throw full;
    });
    const { rows } = setUp({ insert, end });
    for (let n = 0; n < 50; n++) {
      const turn = turnOf(`t${n}`);
      await expect(rows.accepted(turn)).rejects.toBe(full);
      rows.ended({ turn, joined: [], outcome: { kind: "refused", error: full } });
      await settle();
    }
    end.mockReset().mockResolvedValue();
    insert.mockResolvedValue(true);
    await rows.accepted(turnOf("last"));
    expect(end).toHaveBeenCalledOnce();
  });
});
