import { describe, expect, it } from "vitest";
import { splitParameters, unite } from "../../../src/gateway/declarations.ts";
import { type Audience, askedBy, receivers } from "../../../src/gateway/delivery.ts";
import { rewriteEvent } from "../../../src/gateway/event-ids.ts";
import { withIds } from "../../../src/gateway/ids.ts";
import type { Attachment, Connection, SessionHost } from "../../../src/gateway/vocabulary.ts";

const attachment = (id: string, params: Record<string, unknown>, user = "alice"): Attachment => ({
  connection: { id, link: { kind: "sdk" }, principal: { tenant: "acme", user } } as Connection,
  host: {} as SessionHost,
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
  answers: ({ connection }) => connection.principal.user !== "eve",
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

  it("neither asks nor shows who may not answer, who would answer all the same", () => {
    const eve = attachment("eve", { tools: [tool("both")], requestPermission: true }, "eve");
    const withEve = { ...audience(eve), attachments: [a, watcher, eve] };
    expect(askedBy(withEve, "external_tool.requested", { toolName: "both" })?.name).toBe("a");
    expect(askedBy({ ...withEve, attachments: [eve] }, "permission.requested", {})).toBeUndefined();
    for (const type of ["permission.requested", "elicitation.requested"])
      expect(names(receivers(withEve, type, {}))).toEqual(["a", "w"]);
    expect(names(receivers(withEve, "external_tool.requested", { toolName: "both" }))).toEqual(["a", "w"]);
    expect(names(receivers(withEve, "permission.completed", {}))).toEqual(["a", "w", "eve"]);
  });

  it("asks the sender's user before other owners when its own connection cannot answer", () => {
    const his = attachment("his", { requestPermission: true }, "bob");
    const http = { ...attachment("http", {}, "bob"), connection: { ...his.connection, id: "http" } };
    const asked = { ...audience(), attachments: [his, http, a], sender: http.connection };
    expect(askedBy(asked, "permission.requested", {})?.name).toBe("his");
    expect(askedBy({ ...asked, attachments: [http, a] }, "permission.requested", {})?.name).toBe("a");
  });

  it("shows what the founder's programs bring, and what only the model is told, to the founder alone", () => {
    const bob = { ...attachment("bob", {}, "bob"), founder: false };
    const withBob = { ...audience(), attachments: [a, bob] };
    for (const type of [
      ...["system.message", "model.messages_snapshot", "hook.start", "hook.progress", "hook.end"],
      "mcp.headers_refresh_required",
    ])
      expect([type, names(receivers(withBob, type, {}))]).toEqual([type, ["a"]]);
    expect(names(receivers(withBob, "mcp.oauth_required", {}))).toEqual([]);
    expect(names(receivers(withBob, "assistant.message", {}))).toEqual(["a", "bob"]);
  });

  it("shows deltas only to who streams, and the end of a turn not to who waits for a later one", () => {
    expect(names(receivers(audience(), "assistant.message_delta", undefined))).toEqual(["a"]);
    expect(names(receivers(audience(a, [b]), "session.idle", {}))).toEqual(["a", "w"]);
    expect(names(receivers(audience(a, [b]), "session.error", {}))).toEqual(["a", "w"]);
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
