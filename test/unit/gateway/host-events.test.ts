import { describe, expect, it, vi } from "vitest";
import { createEventIntake, type StoreTurn } from "../../../src/gateway/host-events.ts";
import type { HostTurns } from "../../../src/gateway/host-turns.ts";
import type { PolicyCalls } from "../../../src/gateway/policy-calls.ts";
import { shownEvent } from "../../../src/gateway/shown-event.ts";
import type { Attachment, Connection, SessionHost } from "../../../src/gateway/vocabulary.ts";
import { type Envelope, readEnvelope } from "../../../src/wire/envelope.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { settle } from "./fake-node.ts";

const frame = (type: string, data: unknown = {}): Envelope =>
  readEnvelope(
    Buffer.from(
      JSON.stringify({
        jsonrpc: "2.0",
        method: "session.event",
        params: { sessionId: "inner", event: { id: "e", type, data } },
      }),
    ),
  );

const setUp = (given: { keeps?: boolean } = {}) => {
  const clock = new ManualClock();
  const told: string[] = [];
  const readers: { readonly type: string; readonly id: string | undefined; readonly event: unknown }[] = [];
  const log: string[] = [];
  const commits: { readonly end: unknown; stored(): void; failed(error: Error): void }[] = [];
  const note = (body: Buffer): void => {
    const { params } = JSON.parse(body.toString());
    expect(params.sessionId).toBe("mine");
    told.push(params.event.type);
  };
  const connection = {
    id: "c",
    link: {
      kind: "sdk",
      sendRaw: note,
      notify: (method: string, params: unknown) => note(Buffer.from(JSON.stringify({ method, params }))),
    },
  } as unknown as Connection;
  const attachment: Attachment = {
    connection,
    host: {} as SessionHost,
    name: "mine",
    role: "owner",
    founder: true,
    offered: { flags: new Set() } as unknown as Attachment["declarations"],
    declarations: { flags: new Set() } as unknown as Attachment["declarations"],
    interests: new Map(),
  };
  const turns = {
    current: { sender: connection },
    serves: () => true,
    waits: () => false,
    hasAsked: () => true,
    failed: false,
    owesError: false,
    observe: (type: string) => void log.push(`observed ${type}`),
    idle: () => void log.push("turn ended"),
  };
  const onNotStored = vi.fn();
  const quiet: { holding: boolean; told: string[] }[] = [];
  const storeTurn: StoreTurn = (end) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    commits.push({ end, stored: resolve, failed: reject });
    return promise;
  };
  const intake = createEventIntake({
    session: "inner",
    shown: (event) =>
      shownEvent(event, { id: "inner", publicId: "ses_public", owner: "alice" }, (id) =>
        id === "m" ? { clientId: "ours", sender: "bob" } : undefined,
      ),
    attachments: [attachment],
    turns: turns as unknown as HostTurns,
    requests: { answersFor: () => () => true, seen: () => undefined },
    policyCalls: { concerns: () => false, closed: () => undefined } as Partial<PolicyCalls> as PolicyCalls,
    heldEnds: {
      hold: (_attachment, tell) => tell(),
      release: () => undefined,
      told: () => undefined,
      drop: () => undefined,
      mayCross: () => false,
    },
    clientMessageId: () => undefined,
    onEvent: () => undefined,
    storeTurn: given.keeps === false ? undefined : storeTurn,
    onNotStored,
    tellReaders: ({ type, id, data }) => {
      expect(data().includes("\n")).toBe(false);
      readers.push({ type, id, event: JSON.parse(data().toString()) });
    },
    onQuiet: () => quiet.push({ holding: intake.holding, told: [...told] }),
    onFailure: (error) => {
      throw error;
    },
    clock,
  });
  const take = (...types: string[]): void => {
    for (const type of types) intake.take(frame(type, type === "session.idle" ? { mode: "x" } : {}));
  };
  return { clock, told, readers, log, commits, turns, onNotStored, quiet, intake, take };
};

describe("events of a session", () => {
  it("are told at once while nothing must be stored", () => {
    const { told, take, intake } = setUp();
    take("user.message", "assistant.message");
    expect([told, intake.holding]).toEqual([["user.message", "assistant.message"], false]);
  });

  it("that end a turn are told when what it did is stored, and all behind them wait, in order", async () => {
    const { told, log, commits, take, intake } = setUp();
    take("assistant.message", "assistant.idle", "session.idle", "session.info", "assistant.turn_start");
    await settle();
    expect(told).toEqual(["assistant.message"]);
    expect(log).not.toContain("turn ended");
    expect(commits.map(({ end }) => end)).toEqual([{ data: { mode: "x" } }]);
    expect(intake.holding).toBe(true);
    take("session.title_changed");
    commits[0]?.stored();
    await intake.quiet();
    expect(told).toEqual([
      "assistant.message",
      "assistant.idle",
      "session.idle",
      "session.info",
      "assistant.turn_start",
      "session.title_changed",
    ]);
    expect(log).toContain("turn ended");
    expect([commits.length, intake.holding]).toEqual([1, false]);
  });

  it("are reported as all told when nothing is held any more, what came behind the end included", async () => {
    const { commits, quiet, take, intake } = setUp();
    take("user.message");
    expect(quiet).toEqual([]);
    take("session.idle", "session.info");
    await settle();
    commits[0]?.stored();
    await intake.quiet();
    expect(quiet).toEqual([{ holding: false, told: ["user.message", "session.idle", "session.info"] }]);
  });

  it("that end a turn are stored together although the second comes a moment after the first", async () => {
    const { told, commits, take, intake, clock } = setUp();
    take("assistant.idle");
    await settle();
    expect([commits.length, told]).toEqual([0, []]);
    take("session.idle");
    await settle();
    commits[0]?.stored();
    await intake.quiet();
    expect(commits.map(({ end }) => end)).toEqual([{ data: { mode: "x" } }]);
    take("assistant.idle");
    await settle();
    clock.advance(20);
    await settle();
    expect(commits[1]?.end).toBeUndefined();
    commits[1]?.stored();
    await intake.quiet();
    expect(told).toEqual(["assistant.idle", "session.idle", "assistant.idle"]);
  });

  it("of the next turn do not count before the end of this one is stored", async () => {
    const { log, commits, take, intake } = setUp();
    take("session.idle", "user.message");
    await settle();
    expect(log).toEqual(["observed session.idle"]);
    commits[0]?.stored();
    await intake.quiet();
    expect(log).toEqual(["observed session.idle", "turn ended", "observed user.message"]);
  });

  it("that end two turns are stored one after the other", async () => {
    const { told, commits, take, intake } = setUp();
    take("session.idle", "user.message", "session.idle");
    await settle();
    expect([commits.length, told]).toEqual([1, []]);
    commits[0]?.stored();
    await settle();
    expect([commits.length, told]).toEqual([2, ["session.idle"]]);
    commits[1]?.stored();
    await intake.quiet();
    expect(told).toEqual(["session.idle", "user.message", "session.idle"]);
  });

  it("tell no end of what could not be stored, and everything else", async () => {
    const { told, log, commits, take, intake, onNotStored } = setUp();
    take("assistant.turn_end", "assistant.idle", "session.info", "session.idle", "session.title_changed");
    await settle();
    const error = new Error("The disk is full.");
    commits[0]?.failed(error);
    await intake.quiet();
    expect(onNotStored).toHaveBeenCalledExactlyOnceWith(error);
    expect(told).toEqual(["assistant.turn_end", "session.info", "session.title_changed"]);
    expect(log).not.toContain("turn ended");
    take("session.idle");
    await settle();
    commits[1]?.stored();
    await intake.quiet();
    expect(told.at(-1)).toBe("session.idle");
  });

  it("at the end of a step are held only when nothing has been stored for a while", async () => {
    const { clock, told, commits, take, intake } = setUp();
    take("user.message", "assistant.turn_end");
    expect([told, commits.length]).toEqual([["user.message", "assistant.turn_end"], 0]);
    clock.advance(1_000);
    take("assistant.message", "assistant.turn_end", "assistant.turn_start");
    await settle();
    expect([told.length, commits.map(({ end }) => end)]).toEqual([3, [undefined]]);
    commits[0]?.stored();
    await intake.quiet();
    expect(told.slice(3)).toEqual(["assistant.turn_end", "assistant.turn_start"]);
    clock.advance(999);
    take("assistant.turn_end");
    expect([told.length, commits.length]).toEqual([6, 1]);
  });

  it("that tell how a turn has failed are told when it is stored, with the idle that came beside them", async () => {
    const { told, commits, turns, take, intake } = setUp();
    turns.owesError = true;
    take("session.error", "session.idle");
    await settle();
    expect([told, commits.map(({ end }) => end)]).toEqual([[], [{ data: { mode: "x" } }]]);
    commits[0]?.stored();
    await intake.quiet();
    expect(told).toEqual(["session.error", "session.idle"]);
    take("session.error");
    await settle();
    expect([told.length, commits.map(({ end }) => end)]).toEqual([2, [{ data: { mode: "x" } }, undefined]]);
  });

  it("are told to the session's readers as well, under its public id, without what only the model is told", async () => {
    const { readers, intake, commits } = setUp();
    const event = (type: string, id: string, more: object = {}): Envelope =>
      readEnvelope(
        Buffer.from(
          JSON.stringify({
            jsonrpc: "2.0",
            method: "session.event",
            params: { sessionId: "inner", event: { id, type, data: {}, ...more } },
          }).replaceAll('"type"', '\n"type"'),
        ),
      );
    intake.take(event("session.start", "e1", { data: { sessionId: "inner" } }));
    intake.take(event("assistant.message_delta", "e2", { ephemeral: true, data: { deltaContent: "x" } }));
    intake.take(event("system.message", "e3"));
    intake.take(event("session.idle", "e4", { ephemeral: true }));
    await settle();
    expect(readers.map(({ type, id }) => [type, id])).toEqual([
      ["session.start", "e1"],
      ["assistant.message_delta", undefined],
    ]);
    expect(readers[0]?.event).toMatchObject({ data: { sessionId: "ses_public" } });
    commits[0]?.stored();
    await intake.quiet();
    expect(readers.at(-1)?.type).toBe("session.idle");
    intake.take(event("user.message", "e5", { data: { messageId: "m", content: "hi" } }));
    intake.take(event("user.message", "e6", { data: { messageId: "other" } }));
    intake.take(event("user.message", "e7", { data: { messageId: "m", source: "schedule-1" } }));
    expect(readers.slice(-3).map(({ event }) => event)).toEqual([
      { id: "e5", type: "user.message", data: { messageId: "ours", content: "hi" }, sender: "bob" },
      { id: "e6", type: "user.message", data: { messageId: "other" }, sender: "alice" },
      { id: "e7", type: "user.message", data: { messageId: "ours", source: "schedule-1" } },
    ]);
  });

  it("of a one-shot session are told at once, ends too", () => {
    const { told, log, take } = setUp({ keeps: false });
    take("assistant.idle", "session.idle");
    expect(told).toEqual(["assistant.idle", "session.idle"]);
    expect(log).toContain("turn ended");
  });

  it("an idle waits for the error of its turn, but not for long", async () => {
    const { clock, told, commits, turns, take, intake } = setUp();
    turns.owesError = true;
    take("session.idle");
    await settle();
    expect(commits).toEqual([]);
    take("session.error");
    await settle();
    commits[0]?.stored();
    await intake.quiet();
    expect(told).toEqual(["session.error", "session.idle"]);
    take("session.idle");
    clock.advance(500);
    await settle();
    commits[1]?.stored();
    await intake.quiet();
    expect(told.at(-1)).toBe("session.idle");
  });
});
