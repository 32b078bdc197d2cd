import { getEventListeners } from "node:events";
import { expect, test } from "vitest";
import type { HttpContext } from "../../../src/http/context.ts";
import { followTurn } from "../../../src/http/followed-turn.ts";
import type { OwnedSession } from "../../../src/store/store.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

test("whoever follows a turn by its row leaves nothing behind for each look, and stops when its client goes", async () => {
  const clock = new ManualClock();
  let looks = 0;
  const context = {
    clock,
    store: {
      turns: {
        byId: async () => {
          looks++;
          return { state: "begun", content: null, reason: null, inputTokens: 0, outputTokens: 0 };
        },
      },
    },
    gateway: { services: { hosts: { find: () => undefined } } },
  } as unknown as HttpContext;
  const gone = new AbortController();
  const { ended } = await followTurn(context, { id: "s1" } as OwnedSession, "t1", gone.signal);
  const over = expect(ended).rejects.toThrow("gone");
  for (let n = 0; n < 20; n++) {
    await settle();
    clock.advance(250);
  }
  await settle();
  expect(looks).toBeGreaterThan(10);
  expect(getEventListeners(gone.signal, "abort").length).toBe(1);
  gone.abort(new Error("gone"));
  await over;
  expect(getEventListeners(gone.signal, "abort").length).toBe(0);
});
