import { describe, expect, it, vi } from "vitest";
import { splitParameters, unite } from "../../../src/gateway/declarations.ts";
import { type Audience, askedBy, receivers } from "../../../src/gateway/delivery.ts";
import { rewriteEvent } from "../../../src/gateway/event-ids.ts";
import { withIds } from "../../../src/gateway/ids.ts";
import { createOpenRequests } from "../../../src/gateway/open-requests.ts";
import type { Attachment, Connection, SessionHost } from "../../../src/gateway/vocabulary.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const attachments: Attachment[] = [];
const host = { attachments } as unknown as SessionHost;
const attachment = (id: string, params: Record<string, unknown>): Attachment => ({
  connection: { id, link: { kind: "sdk" } } as Connection,
  host,
  name: id,
  role: "owner",
  founder: true,
  offered: splitParameters(params).declarations,
  declarations: splitParameters(params).declarations,
  interests: new Map(),
});
const tool = (name: string) => ({ name, description: "d" });
const a = attachment("a", {
  tools: [tool("both"), tool("only-a")],
  requestPermission: true,
  streaming: true,
});
const b = attachment("b", { tools: [tool("both")], requestPermission: true, hooks: true });
const watcher = attachment("w", {});
const audience = (sender?: Attachment, waiting: readonly Attachment[] = []): Audience => ({
  attachments: [a, b, watcher],
  sender: sender?.connection,
  serves: (connection) => connection === sender?.connection,
  hasAsked: () => false,
  waits: (connection) => waiting.some((one) => one.connection === connection),
});
const names = (list: readonly Attachment[]) => list.map(({ name }) => name);

describe("who is asked, and who sees it", () => {
  it("asks the turn's sender if it can answer, else the latest who can", () => {
    const call = { toolName: "both", requestId: "1" };
    expect(askedBy(audience(a), "external_tool.requested", call)?.name).toBe("a");
    expect(askedBy(audience(watcher), "external_tool.requested", call)?.name).toBe("b");
    expect(askedBy(audience(b), "external_tool.requested", { toolName: "only-a" })?.name).toBe("a");
  });

  it("hides a tool call from others who would execute it, and shows it to those who cannot", () => {
    expect(names(receivers(audience(a), "external_tool.requested", { toolName: "both" }))).toEqual([
      "a",
      "w",
    ]);
    expect(names(receivers(audience(a), "permission.requested", {}))).toEqual(["a", "b", "w"]);
    expect(names(receivers(audience(a), "command.execute", { commandName: "none" }))).toEqual([]);
  });

  it("shows deltas only to who streams, and the end of a turn not to who waits for a later one", () => {
    expect(names(receivers(audience(), "assistant.message_delta", undefined))).toEqual(["a"]);
    expect(names(receivers(audience(a, [b]), "session.idle", {}))).toEqual(["a", "w"]);
    expect(names(receivers(audience(a, [b]), "session.error", {}))).toEqual(["a", "w"]);
  });
});

describe("open requests", () => {
  const setUp = () => {
    const clock = new ManualClock();
    const answer = vi.fn();
    return { clock, answer, requests: createOpenRequests({ clock, deadlineMs: 100, answer }) };
  };

  it("answers what nobody answered in time, once", () => {
    const { clock, answer, requests } = setUp();
    requests.opened("permission.requested", { requestId: "p" }, undefined);
    requests.opened("external_tool.requested", { requestId: "t" }, undefined);
    requests.closed({ requestId: "t" });
    clock.advance(100);
    expect(answer.mock.calls).toEqual([
      [
        "session.permissions.handlePendingPermissionRequest",
        { requestId: "p", result: { kind: "user-not-available" } },
      ],
    ]);
    expect(requests.size).toBe(0);
  });

  it("lets only the one who was asked answer, for as long as it is attached", () => {
    const { requests } = setUp();
    attachments.push(a, b);
    requests.opened("permission.requested", { requestId: "p" }, a);
    expect(requests.mayAnswer("p", a.connection)).toBe(true);
    expect(requests.mayAnswer("p", b.connection)).toBe(false);
    attachments.splice(0, 1);
    expect(requests.mayAnswer("p", b.connection)).toBe(true);
    expect(requests.mayAnswer("unknown", b.connection)).toBe(true);
  });

  it("leaves no timer behind", () => {
    const { clock, requests } = setUp();
    requests.opened("permission.requested", { requestId: "p" }, undefined);
    requests.clear();
    expect(clock.pending).toBe(0);
  });
});

describe("declarations", () => {
  it("unites what all declare; of two tools of one name the later wins", () => {
    const later = attachment("c", { tools: [{ name: "both", description: "later" }] });
    const united = unite([a, b, later].map(({ declarations }) => declarations));
    expect(united).toMatchObject({
      hooks: true,
      streaming: true,
      requestPermission: true,
      requestUserInput: false,
    });
    expect(united.tools).toEqual([{ name: "both", description: "later" }, tool("only-a")]);
  });

  it("keeps what belongs to one connection out of the record", () => {
    const { recorded } = splitParameters({
      model: "m",
      tools: [tool("x")],
      hooks: true,
      sessionId: "s",
      gitHubToken: "t",
      systemMessage: { content: "hi" },
    });
    expect(recorded).toEqual({ model: "m", systemMessage: { content: "hi" } });
  });
});

describe("ids in events", () => {
  const map = (id: string) => (id === "inner" ? "mine" : undefined);

  it("are replaced where the protocol has them, and nowhere else", () => {
    const event = { type: "hook.start", data: { input: { sessionId: "inner", prompt: "inner" } } };
    expect(rewriteEvent(event, map, () => undefined)).toEqual({
      type: "hook.start",
      data: { input: { sessionId: "mine", prompt: "inner" } },
    });
    const text = { type: "assistant.message", data: { content: "inner", originatingMessageId: "inner" } };
    expect(rewriteEvent(text, map, () => undefined)).toBe(text);
  });

  it("are found in lists, and a value without any stays the same object", () => {
    expect(
      withIds({ sessions: [{ sessionId: "inner" }, { sessionId: "other" }] }, "sessions[].sessionId", map),
    ).toEqual({
      sessions: [{ sessionId: "mine" }, { sessionId: "other" }],
    });
    const untouched = { a: [1] };
    expect(withIds(untouched, "a[].b", map)).toBe(untouched);
  });
});
