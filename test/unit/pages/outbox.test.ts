import { describe, expect, it } from "vitest";
import { changeOutbox, nextToSend, type Outgoing, pendingOf } from "../../../src/pages/chat/outbox.ts";
import { emptyRoom, receive } from "../../../src/pages/chat/room.ts";

const added = (...keys: string[]): readonly Outgoing[] =>
  keys.reduce<readonly Outgoing[]>(
    (outbox, key) => changeOutbox(outbox, { kind: "add", key, prompt: key, attachments: [] }),
    [],
  );
const accepted = (outbox: readonly Outgoing[], key: string): readonly Outgoing[] =>
  changeOutbox(outbox, { kind: "accepted", key, turnId: `turn-${key}` });
const ended = (state: string) =>
  receive(emptyRoom, [
    { name: `turn.${state}`, event: { ephemeral: true, data: { turnId: "turn-a", by: "me" } } },
  ]);

describe("the outbox", () => {
  it("brings one message after the other, and does not go past one that could not be brought", () => {
    const outbox = added("a", "b");
    expect(nextToSend(outbox)?.key).toBe("a");
    expect(nextToSend(changeOutbox(outbox, { kind: "retrying", key: "a" }))?.key).toBe("a");
    expect(nextToSend(accepted(outbox, "a"))?.key).toBe("b");
    expect(nextToSend(changeOutbox(outbox, { kind: "refused", key: "a", detail: "no" }))?.key).toBe("b");
  });

  it("does not send again what was accepted, whatever is heard late", () => {
    const outbox = accepted(added("a"), "a");
    for (const kind of ["retrying", "again"] as const)
      expect(nextToSend(changeOutbox(outbox, { kind, key: "a" }))).toBeUndefined();
    expect(changeOutbox(outbox, { kind: "refused", key: "a", detail: "" })).toEqual(outbox);
  });

  it("shows a message until the history has it, whichever is heard of first", () => {
    const outbox = added("a");
    expect(pendingOf(outbox, emptyRoom)).toMatchObject([{ key: "a", lost: false }]);
    const said = receive(emptyRoom, [
      { name: "user.message", event: { id: "1", data: { messageId: "turn-a", content: "a" } } },
    ]);
    expect(pendingOf(accepted(outbox, "a"), emptyRoom)).toHaveLength(1);
    expect(pendingOf(accepted(outbox, "a"), said)).toEqual([]);
  });

  it("shows no message that was taken back, and says so when one was lost", () => {
    const outbox = accepted(added("a"), "a");
    expect(pendingOf(outbox, ended("aborted"))).toEqual([]);
    expect(pendingOf(outbox, ended("completed"))).toEqual([]);
    expect(pendingOf(outbox, ended("interrupted"))).toMatchObject([{ lost: true }]);
    expect(pendingOf(outbox, ended("failed"))).toMatchObject([{ lost: true }]);
  });
});
