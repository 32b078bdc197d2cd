import { describe, expect, it } from "vitest";
import { createKnownMessages } from "../../../src/gateway/known-messages.ts";

const setUp = () => createKnownMessages({ known: new Map(), owner: "alice" });

describe("what is known of messages", () => {
  it("is only what the history does not say: another id, another sender than the owner", () => {
    const messages = setUp();
    messages.named("r1", { clientId: "r1", user: "alice" });
    expect([messages.all.size, messages.pending]).toEqual([0, undefined]);
    messages.named("r2", { clientId: "c2", user: "alice" });
    messages.named("r3", { clientId: "r3", user: "bob" });
    expect(messages.pending?.messages).toEqual([
      { runtimeId: "r2", clientId: "c2", sender: null },
      { runtimeId: "r3", clientId: "r3", sender: "bob" },
    ]);
    expect([messages.clientId("r1"), messages.clientId("r2"), messages.all.get("r3")?.sender]).toEqual([
      undefined,
      "c2",
      "bob",
    ]);
  });

  it("is stored by the next commit that succeeds, and by no later one", () => {
    const messages = setUp();
    messages.named("r1", { clientId: "r1", user: "bob" });
    const refused = messages.pending;
    messages.named("r2", { clientId: "r2", user: "bob" });
    const stored = messages.pending;
    expect([refused?.messages.length, stored?.messages.length]).toEqual([1, 2]);
    messages.named("r3", { clientId: "r3", user: "carol" });
    stored?.accept();
    expect(messages.pending?.messages.map(({ runtimeId }) => runtimeId)).toEqual(["r3"]);
    messages.pending?.accept();
    expect([messages.pending, messages.all.size]).toEqual([undefined, 3]);
  });

  it("grows by what another node has stored", () => {
    const messages = setUp();
    messages.learn(new Map([["r9", { clientId: "c9", sender: "bob" }]]));
    expect([messages.clientId("r9"), messages.pending]).toEqual(["c9", undefined]);
  });
});
