import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  emptyRoom,
  type OpenRequest,
  openRequestIds,
  type Room,
  receive,
  runningTurn,
  type StreamEvent,
  type Turn,
  waitingTurns,
  withSnapshot,
} from "../../../src/pages/chat/room.ts";
import { timelineOf } from "../../../src/pages/chat/timeline.ts";

const history = (name: string, id: string, data: object = {}, more: object = {}): StreamEvent => ({
  name,
  event: { id, type: name, timestamp: "2026-11-28T12:00:00Z", data, ...more },
});
const passing = (name: string, data: object): StreamEvent => ({
  name,
  event: { type: name, ephemeral: true, data },
});
const opened = passing("stream.opened", {});
const rewind = (to: string): StreamEvent => ({ name: "stream.rewind", event: { to } });

const turnEvents = (turn: string, by: string): readonly StreamEvent[] => [
  passing("turn.queued", { turnId: turn, by }),
  passing("turn.running", { turnId: turn, by }),
  history("user.message", `${turn}-u`, { messageId: turn, content: `ask ${turn}` }, { sender: by }),
  history("assistant.turn_start", `${turn}-s`),
  history("tool.execution_start", `${turn}-t`, {
    toolCallId: `${turn}-c`,
    toolName: "look",
    arguments: { a: 1 },
  }),
  history("tool.execution_complete", `${turn}-r`, {
    toolCallId: `${turn}-c`,
    success: true,
    result: { content: "seen" },
  }),
  passing("assistant.message_delta", { messageId: `${turn}-m`, deltaContent: "an" }),
  passing("assistant.message_delta", { messageId: `${turn}-m`, deltaContent: "swer" }),
  history("assistant.message", `${turn}-a`, { messageId: `${turn}-m`, content: "answer" }),
  history("assistant.turn_end", `${turn}-e`),
  passing("turn.completed", { turnId: turn, by }),
];

const isHistory = ({ event }: StreamEvent): boolean => event.id !== undefined && event.ephemeral !== true;
const shownOf = (room: Room) => timelineOf(room, runningTurn(room) !== undefined);

describe("a room", () => {
  it("shows who said what, what was done and what was answered", () => {
    const room = receive(emptyRoom, [opened, ...turnEvents("1", "alice"), ...turnEvents("2", "bob")]);
    expect(room.opened).toBe(true);
    expect(shownOf(room).map(({ kind }) => kind)).toEqual([
      "message",
      "tools",
      "answer",
      "message",
      "tools",
      "answer",
    ]);
    expect(shownOf(room)[0]).toMatchObject({ sender: "alice", content: "ask 1", turnId: "1" });
    expect(shownOf(room)[1]).toMatchObject({ calls: [{ name: "look", state: "done", result: "seen" }] });
    expect(runningTurn(room)).toBeUndefined();
  });

  it("shows an answer while it grows, in the place where it will stand", () => {
    const events = turnEvents("1", "alice");
    const room = receive(emptyRoom, events.slice(0, 8));
    const [growing] = shownOf(room).slice(-1);
    expect(growing).toMatchObject({ kind: "answer", content: "answer", grows: true });
    const [finished] = shownOf(receive(room, events.slice(8))).slice(-1);
    expect(finished).toMatchObject({ kind: "answer", content: "answer", grows: false, key: growing?.key });
  });

  it("is the same however often its stream was cut: what was told is not told again, old deltas are not", () => {
    const log = ["1", "2", "3"].flatMap((turn) => turnEvents(turn, turn === "2" ? "bob" : "alice"));
    const whole = receive(emptyRoom, [opened, ...log]);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(log.length), fc.nat(log.length), fc.boolean()), { maxLength: 6 }),
        fc.array(fc.nat(log.length), { maxLength: 8 }),
        (cuts, batches) => {
          const told: StreamEvent[] = [];
          let at = 0;
          for (const [to, back, forgotten] of [...cuts, [log.length, 0, false] as const]) {
            told.push(opened);
            // A client that lost its place asks for the whole history, one that kept it goes on after it.
            if (forgotten) told.push(...log.slice(0, Math.min(at, back)).filter(isHistory));
            while (at < Math.max(at, to)) told.push(log[at++] as StreamEvent);
          }
          let room = emptyRoom;
          const ends = [...batches.map((end) => end % (told.length + 1)), told.length].sort((a, b) => a - b);
          let begin = 0;
          for (const end of ends) {
            room = receive(room, told.slice(begin, end));
            begin = end;
          }
          expect(shownOf(room)).toEqual(shownOf(whole));
          expect(room.turns).toEqual(whole.turns);
        },
      ),
    );
  });

  it("takes back what was lost with a runtime, and goes on from there", () => {
    const [first, second] = [turnEvents("1", "alice"), turnEvents("2", "bob")];
    fc.assert(
      fc.property(fc.nat(second.length - 1), (lostAt) => {
        const before = receive(emptyRoom, [opened, ...first]);
        const broken = receive(before, second.slice(0, lostAt));
        const back = receive(broken, [rewind("1-e")]);
        expect(back.lost).toBe(false);
        expect(back.facts).toEqual(before.facts);
        expect(back.growing).toEqual([]);
        const again = turnEvents("3", "bob");
        expect(shownOf(receive(back, again)).at(-1)).toMatchObject({ kind: "answer", content: "answer" });
      }),
    );
    const all = receive(emptyRoom, [opened, ...first, ...second]);
    expect(receive(all, [rewind("start")]).facts).toEqual([]);
    // A tool whose result was lost has none again.
    const cut = receive(all, [rewind("2-t")]);
    expect(shownOf(cut).at(-1)).toMatchObject({ kind: "tools", calls: [{ state: "unknown" }] });
    expect(receive(all, [rewind("never heard of")]).lost).toBe(true);
  });

  it("says what has become of a message that was not answered", () => {
    const events = turnEvents("1", "alice").slice(0, 4);
    const end = passing("turn.failed", { turnId: "1", by: "alice", reason: "timeout" });
    const room = receive(emptyRoom, [...events, end, ...turnEvents("2", "bob")]);
    expect(shownOf(room).map(({ kind }) => kind)).toEqual([
      "message",
      "ending",
      "message",
      "tools",
      "answer",
    ]);
    expect(shownOf(room)[1]).toMatchObject({ turn: { state: "failed", reason: "timeout" } });
  });

  it("shows no tool of a turn that has ended as running, whatever runs now", () => {
    const begun = [
      ...turnEvents("1", "alice").slice(0, 5),
      passing("turn.aborted", { turnId: "1", by: "alice" }),
    ];
    const room = receive(emptyRoom, [opened, ...begun, ...turnEvents("2", "bob").slice(0, 5)]);
    const states = shownOf(room).flatMap((item) =>
      item.kind === "tools" ? item.calls.map(({ state }) => state) : [],
    );
    expect(states).toEqual(["unknown", "running"]);
  });

  it("says nothing of what sub-agents say to each other", () => {
    const room = receive(emptyRoom, [
      history("assistant.message", "1", { messageId: "m", content: "inner", parentToolCallId: "c" }),
      history("user.message", "2", { messageId: "u", content: "inner" }, { agentId: "agent" }),
      passing("assistant.message_delta", { messageId: "x", deltaContent: "inner", parentToolCallId: "c" }),
    ]);
    expect(shownOf(room)).toEqual([]);
    expect(receive(room, [rewind("1")]).lost).toBe(false);
  });

  it("is not confused by any event, however wrong", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            name: fc.constantFrom(
              "user.message",
              "turn.running",
              "presence",
              "request.opened",
              "stream.rewind",
              "x",
            ),
            event: fc.dictionary(fc.constantFrom("id", "data", "to", "ephemeral", "sender"), fc.anything()),
          }),
        ),
        (events) => {
          const room = receive(emptyRoom, events);
          expect(() => shownOf(room)).not.toThrow();
        },
      ),
    );
  });
});

describe("turns", () => {
  const states = ["queued", "running", "completed", "failed", "aborted", "interrupted"] as const;

  it("come out the same whether a state was asked for or told, early or late", () => {
    const ways = [
      ["queued", "running", "completed"],
      ["queued", "aborted"],
      ["running", "interrupted"],
      ["queued", "running"],
      ["queued"],
    ] as const;
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...ways), { minLength: 1, maxLength: 4 }).chain((turns) =>
          fc
            .shuffledSubarray(
              turns.flatMap((way, at) => way.map((state) => ({ id: `${at}`, state }))),
              { minLength: turns.flat().length },
            )
            .map((order) => ({ turns, order })),
        ),
        fc.infiniteStream(fc.boolean()),
        ({ turns, order }, asked) => {
          let room = emptyRoom;
          for (const { id, state } of order) {
            const turn: Turn = { id, by: "alice", state, reason: null };
            room = asked.next().value
              ? withSnapshot(room, { turns: [turn], requests: [], openBefore: [] })
              : receive(room, [passing(`turn.${state}`, { turnId: id, by: "alice" })]);
          }
          for (const [at, way] of turns.entries()) expect(room.turns.get(`${at}`)?.state).toBe(way.at(-1));
        },
      ),
    );
    expect(states).toHaveLength(6);
  });

  it("wait in the order in which they came, behind the one that runs", () => {
    const room = receive(emptyRoom, [
      passing("turn.running", { turnId: "1", by: "alice" }),
      passing("turn.queued", { turnId: "2", by: "bob" }),
      passing("turn.queued", { turnId: "3", by: "carol" }),
    ]);
    expect(runningTurn(room)).toMatchObject({ id: "1", by: "alice" });
    expect(waitingTurns(room).map(({ by }) => by)).toEqual(["bob", "carol"]);
  });
});

describe("requests", () => {
  const request = (id: string): OpenRequest => ({
    id,
    kind: "permission",
    turnId: "1",
    for: "alice",
    expiresAt: "2026-11-28T12:00:00Z",
    detail: {},
  });
  const told = (id: string) =>
    passing("request.opened", { requestId: id, kind: "permission", turnId: "1", for: "alice", detail: {} });

  it("stand where they came, and stay there when they are settled", () => {
    const [before, after] = [turnEvents("1", "alice").slice(0, 5), turnEvents("1", "alice").slice(5)];
    const room = receive(emptyRoom, [
      ...before,
      told("r"),
      passing("request.settled", { requestId: "r", by: "bob", outcome: "answered" }),
      ...after,
    ]);
    expect(shownOf(room).map(({ kind }) => kind)).toEqual(["message", "tools", "request", "answer"]);
    expect(shownOf(room)[2]).toMatchObject({ request: { settled: { by: "bob", outcome: "answered" } } });
  });

  it("of permissions say what was decided, whichever is told first", () => {
    const settled = passing("request.settled", { requestId: "r", by: "bob", outcome: "answered" });
    for (const [kind, allowed] of [
      ["approved", true],
      ["denied-interactively-by-user", false],
    ] as const) {
      const decided = history("permission.completed", "p", { requestId: "r", result: { kind } });
      for (const order of [
        [settled, decided],
        [decided, settled],
      ])
        expect(shownOf(receive(emptyRoom, [told("r"), ...order]))).toMatchObject([
          { kind: "request", allowed },
        ]);
    }
    expect(shownOf(receive(emptyRoom, [told("r"), settled]))).toMatchObject([{ allowed: undefined }]);
  });

  it("are not opened again by what was asked for earlier, nor closed by it if they came later", () => {
    const settled = receive(emptyRoom, [
      told("r"),
      passing("request.settled", { requestId: "r", by: "bob", outcome: "answered" }),
    ]);
    const late = withSnapshot(settled, { turns: [], requests: [request("r")], openBefore: ["r"] });
    expect(openRequestIds(late)).toEqual([]);
    const newer = withSnapshot(receive(emptyRoom, [told("new")]), {
      turns: [],
      requests: [],
      openBefore: [],
    });
    expect(openRequestIds(newer)).toEqual(["new"]);
  });

  it("that were settled while nobody listened are no longer needed", () => {
    const room = withSnapshot(receive(emptyRoom, [told("old"), told("kept")]), {
      turns: [],
      requests: [request("kept")],
      openBefore: ["old", "kept"],
    });
    expect(openRequestIds(room)).toEqual(["kept"]);
    expect(room.requests[0]?.settled).toMatchObject({ outcome: "withdrawn" });
  });
});
