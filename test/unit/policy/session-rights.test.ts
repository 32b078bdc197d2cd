import { describe, expect, it } from "vitest";
import {
  assertMay,
  assertMayAsk,
  neededFor,
  type Part,
  type Standing,
  suffices,
} from "../../../src/policy/session-rights.ts";
import { methodEntries } from "../../../src/wire/method-table.ts";

const part = (standing: Standing): Part => ({
  role: standing === "founder" ? "owner" : standing,
  founder: standing === "founder",
});

describe("rights in a session", () => {
  it("grow with the role", () => {
    const order: readonly Standing[] = ["reader", "writer", "owner", "founder"];
    for (const [has, one] of order.entries())
      for (const [needed, other] of order.entries()) expect(suffices(one, other)).toBe(has >= needed);
  });

  it("are the founder's for every method that is not named, known or not", () => {
    const open = methodEntries()
      .map(({ method }) => method)
      .filter((method) => neededFor(method) !== "founder");
    expect(open.filter((method) => neededFor(method) === "writer").sort()).toEqual([
      "session.abort",
      "session.queue.clear",
      "session.queue.pendingItems",
      "session.queue.removeMostRecent",
      "session.send",
    ]);
    expect(open.filter((method) => neededFor(method) === "owner").sort()).toEqual([
      "session.delete",
      "session.name.set",
      "sessions.bulkDelete",
      "sessions.delete",
    ]);
    expect(open.filter((method) => neededFor(method) === "reader").sort()).toEqual([
      "session.create",
      "session.destroy",
      "session.detach",
      "session.eventLog.read",
      "session.eventLog.registerInterest",
      "session.eventLog.releaseInterest",
      "session.eventLog.tail",
      "session.getMessages",
      "session.getMetadata",
      "session.metadata.isProcessing",
      "session.name.get",
      "session.options.update",
      "session.permissions.handlePendingPermissionRequest",
      "session.resume",
      "session.tools.handlePendingToolCall",
      "session.ui.handlePendingElicitation",
      "sessions.checkInUse",
      "sessions.close",
      "sessions.getMetadata",
    ]);
    for (const method of [
      "session.model.switchTo",
      "session.later",
      "",
      "__proto__",
      "constructor",
      "toString",
    ])
      expect(neededFor(method)).toBe("founder");
  });

  it("are told to who lacks them, by the role that is there and the one that is needed", () => {
    expect(() => assertMay(part("reader"), "writer", "sending messages")).toThrow(
      expect.objectContaining({
        code: "forbidden",
        message: "You take part in this session as a reader; sending messages needs a writer.",
        details: { role: "reader", needed: "writer" },
      }),
    );
    expect(() => assertMay(part("owner"), "founder", "it")).toThrow("as an owner; it needs its founder");
    expect(() => assertMay(part("founder"), "founder", "it")).not.toThrow();
  });

  it("let a participant's message be words and bytes", () => {
    const bytes = [{ type: "blob", data: "", mimeType: "text/plain" }];
    const plain = { prompt: "x", mode: "immediate", agentMode: "interactive", attachments: bytes };
    const more = [
      { agentMode: "autopilot" },
      { agentMode: "plan" },
      { source: "user" },
      { displayPrompt: "y" },
      { billable: true },
      { attachments: [...bytes, { type: "file", path: "/etc/passwd" }] },
      { attachments: ["/etc/passwd"] },
      { __proto__x: 1 },
    ];
    for (const standing of ["reader", "writer", "owner"] as const) {
      expect(() => assertMayAsk(part(standing), plain)).not.toThrow();
      for (const one of more)
        expect(() => assertMayAsk(part(standing), { ...plain, ...one }), JSON.stringify(one)).toThrow(
          expect.objectContaining({ code: "forbidden" }),
        );
    }
    for (const one of more) expect(() => assertMayAsk(part("founder"), { ...plain, ...one })).not.toThrow();
  });
});
