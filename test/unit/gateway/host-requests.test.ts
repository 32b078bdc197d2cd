import { expect, it } from "vitest";
import type { Audience } from "../../../src/gateway/delivery.ts";
import { createHostRequests } from "../../../src/gateway/host-requests.ts";
import type { HostServices } from "../../../src/gateway/host-services.ts";
import type { Sender } from "../../../src/gateway/vocabulary.ts";
import type { Turn } from "../../../src/sessions/turn.ts";
import type { SessionRole, SessionRow } from "../../../src/store/store.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { policyWith } from "../policy/policy.ts";

const alice = { tenant: "acme", user: "alice" };
const bob = { tenant: "acme", user: "bob" };

it("hears nobody who lost the right while another's answer was on its way", async () => {
  const roles = new Map<string, SessionRole>([
    ["alice", "owner"],
    ["bob", "writer"],
  ]);
  const turn = {
    id: "turn",
    sender: { principal: bob },
    ended: new Promise(() => undefined),
  } as unknown as Turn<Sender>;
  const requests = createHostRequests({
    services: { clock: new ManualClock() } as unknown as HostServices,
    row: { id: "inner", publicId: "ses_1", ephemeral: false } as SessionRow,
    policy: policyWith(),
    attachments: [],
    turn: () => turn,
    roleOf: ({ user }) => roles.get(user),
    recordWriter: () => undefined,
    ofPolicy: () => false,
    asksPeople: () => true,
    call: () => Promise.reject(new Error("Nothing is asked of the runtime.")),
    tellReaders: () => undefined,
  });
  const audience = { attachments: [], sender: turn.sender, answers: () => false } as unknown as Audience;
  requests.seen({ type: "permission.requested", data: { requestId: "r1" } }, audience, () => undefined);

  const first = Promise.withResolvers<boolean>();
  const hers = requests.shown.answer("r1", alice, () => first.promise);
  let given = false;
  const his = requests.shown.answer("r1", bob, async () => {
    given = true;
    return true;
  });
  roles.delete("bob");
  first.reject(new Error("That was no answer."));

  await expect(hers).rejects.toThrow("That was no answer.");
  await expect(his).rejects.toMatchObject({ code: "forbidden" });
  expect(given).toBe(false);
  expect(requests.open.size).toBe(1);
});
