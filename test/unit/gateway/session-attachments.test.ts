import { expect, it } from "vitest";
import { createInOrder } from "../../../src/gateway/in-order.ts";
import { createSessionAccess } from "../../../src/gateway/session-access.ts";
import { createSessionAttachments } from "../../../src/gateway/session-attachments.ts";
import type { SessionStay } from "../../../src/gateway/session-stay.ts";
import type { SessionUpstream } from "../../../src/gateway/session-upstream.ts";
import type { Attachment, Connection, SessionHost } from "../../../src/gateway/vocabulary.ts";
import type { Log } from "../../../src/telemetry/log.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const connectionOf = (user: string): Connection =>
  ({
    link: { kind: "sdk" },
    principal: { tenant: "acme", user, roles: ["user"] },
    attachments: new Map(),
  }) as unknown as Connection;

/** Bob, a writer, is attached and attaches anew; what the wake for it comes to is the test's to say. */
const attachingAnew = async () => {
  const attachments: Attachment[] = [];
  const access = createSessionAccess({ tenant: "acme", owner: "alice" }, [
    { tenant: "acme", user: "bob", name: "theirs", role: "writer" },
  ]);
  const host = {} as SessionHost;
  const wake = Promise.withResolvers<void>();
  const wakes = [Promise.resolve(), wake.promise];
  const nothing = (): void => undefined;
  const held = { memory: {}, restore: nothing, saveMeanwhile: nothing, save: async () => undefined };
  const holders = createSessionAttachments({
    attachments,
    host: () => host,
    access,
    upstream: {
      held,
      claim: async () => undefined,
      wake: () => wakes.shift(),
      refresh: async () => undefined,
    } as unknown as SessionUpstream,
    stay: { forgetDead: nothing, used: nothing, sleepLater: nothing } as unknown as SessionStay,
    inOrder: createInOrder(nothing),
    hasTurn: () => false,
    onOpened: nothing,
    onMoved: nothing,
    onLeft: nothing,
    changed: async () => undefined,
    clock: new ManualClock(),
    log: { warn: nothing } as unknown as Log,
  });
  const bob = connectionOf("bob");
  const open = () =>
    holders.open(bob, "theirs", {
      kind: "resume",
      parameters: { requestPermission: true },
      githubToken: undefined,
      ownInference: false,
    });
  await open();
  const anew = open();
  await Promise.resolve();
  await Promise.resolve();
  return { attachments, access, holders, anew, fail: () => wake.reject(new Error("No place.")) };
};

it("gives a client that could not attach anew its attachment back, in the role that its user has by then", async () => {
  const { attachments, access, holders, anew, fail } = await attachingAnew();
  access.set("bob", "reader");
  holders.roleChanged("bob");
  fail();
  await expect(anew).rejects.toThrow("No place.");
  expect(attachments).toMatchObject([{ role: "reader", declarations: { flags: new Set() } }]);
});

it("gives none back to a user who has been removed meanwhile", async () => {
  const { attachments, access, holders, anew, fail } = await attachingAnew();
  access.set("bob", null);
  holders.expel("bob");
  fail();
  await expect(anew).rejects.toThrow("No place.");
  expect(attachments).toEqual([]);
});
