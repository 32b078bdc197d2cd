import { describe, expect, it } from "vitest";
import type { TurnRow } from "../../src/store/store.ts";
import { type Evidence, findViolations, type Said, type SessionFacts } from "./history-checker.ts";
import type { Attempt, Outcome } from "./journal.ts";

const session = "s";
const answerTo = (marker: string, count: number, recalled: readonly string[] = []): string =>
  `${marker} ${count} yes |${recalled.map((one) => `${one} [[…`).join(" / ")}|`;

const attempt = (n: number, outcome: Outcome, changes: Partial<Attempt> = {}): Attempt => ({
  marker: `m${n}`,
  client: "c",
  door: "sdk",
  session,
  recalls: true,
  sentAt: n * 1_000,
  settledAt: n * 1_000 + 100,
  outcome,
  ...changes,
});
const answered = (n: number, content = answerTo(`m${n}`, n, earlier(n)), changes: Partial<Attempt> = {}) =>
  attempt(n, { kind: "answered", content, turnId: undefined }, changes);
const earlier = (n: number): readonly string[] =>
  Array.from({ length: n - 1 }, (_, index) => `m${index + 1}`);

const pair = (n: number): readonly Said[] => [
  { role: "user", id: `r${n}`, content: `m${n} [[echo m${n}]]` },
  { role: "assistant", id: `a${n}`, content: answerTo(`m${n}`, n), answers: `r${n}` },
];
const row = (n: number, changes: Partial<TurnRow> = {}): TurnRow => ({
  id: `t${n}`,
  sessionId: "internal",
  sender: "alice",
  state: "completed",
  acceptedAt: n,
  begunAt: n,
  endedAt: n + 1,
  runtimeMessageId: `r${n}`,
  reason: null,
  inputTokens: 1,
  outputTokens: 1,
  content: null,
  joined: null,
  ...changes,
});

/** Two turns that went well. */
const good = (changes: Partial<Evidence> = {}, facts: Partial<SessionFacts> = {}): Evidence => ({
  attempts: [answered(1), answered(2)],
  calls: [],
  faults: [],
  settleMs: 2_000,
  sessions: [{ session, said: [...pair(1), ...pair(2)], rows: [row(1), row(2)], ...facts }],
  ...changes,
});

const kinds = (evidence: Evidence): readonly string[] => findViolations(evidence).map(({ kind }) => kind);
const interrupted: Outcome = { kind: "interrupted", code: "runtime_gone", message: "gone" };
const killed = { at: 2_050, what: "kill" };

describe("the history checker", () => {
  it("has nothing to say about what went well, rows in any order and known by either id", () => {
    expect(kinds(good())).toEqual([]);
    const renamed = [row(2, { id: "r2", runtimeMessageId: "inner" }), row(1)];
    expect(kinds(good({}, { rows: renamed }))).toEqual([]);
    expect(kinds(good({}, { rows: undefined }))).toEqual([]);
  });

  it("finds an acknowledged turn that is lost: message, answer, or the whole session", () => {
    expect(kinds(good({}, { said: pair(1), rows: [row(1)] }))).toEqual(["lost"]);
    expect(kinds(good({}, { said: [...pair(1), ...pair(2).slice(0, 1)], rows: undefined }))).toEqual([
      "lost",
    ]);
    expect(kinds(good({ sessions: [] }))).toEqual(["lost", "lost"]);
  });

  it("finds a turn that was run twice, answered or interrupted", () => {
    const twice = [...pair(1), ...pair(2), ...pair(2)];
    expect(kinds(good({}, { said: twice, rows: undefined }))).toEqual(["duplicated"]);
    const attempts = [answered(1), attempt(2, interrupted)];
    expect(kinds(good({ attempts, faults: [killed] }, { said: twice, rows: undefined }))).toEqual([
      "duplicated",
    ]);
  });

  it("lets an interrupted turn be there, whole, in part or not at all", () => {
    const attempts = [answered(1), attempt(2, interrupted), answered(3, answerTo("m3", 2, ["m1"]))];
    const cut = row(2, { state: "interrupted", runtimeMessageId: null });
    for (const left of [pair(2), pair(2).slice(0, 1), []]) {
      const said = [...pair(1), ...left, ...pair(3)];
      expect(kinds(good({ attempts, faults: [killed] }, { said, rows: [row(1), cut, row(3)] }))).toEqual([]);
    }
  });

  it("finds what was refused and run all the same", () => {
    const refused = attempt(2, { kind: "refused", code: "draining", retryAfterMs: 1 });
    expect(kinds(good({ attempts: [answered(1), refused] }, { rows: undefined }))).toEqual([
      "refused_but_run",
    ]);
    const rows = [row(1), row(2, { state: "refused" })];
    expect(kinds(good({ attempts: [answered(1), refused] }, { rows }))).toContain("row_wrong");
  });

  it("finds another order than that of the answers", () => {
    const said = [...pair(2), ...pair(1)];
    expect(kinds(good({}, { said }))).toContain("order");
    const atOnce = [answered(1, answerTo("m1", 1), { settledAt: 2_500 }), answered(2, answerTo("m2", 1))];
    expect(kinds(good({ attempts: atOnce }, { said }))).toEqual([]);
  });

  it("finds an answer that is not this prompt's", () => {
    expect(kinds(good({ attempts: [answered(1), answered(2, answerTo("m1", 1))] }))).toEqual([
      "wrong_answer",
    ]);
    expect(kinds(good({ attempts: [answered(1), answered(2, "")] }))).toEqual(["wrong_answer"]);
    expect(kinds(good({ attempts: [answered(1), answered(2, "m2 2 yes")] }))).toEqual(["wrong_answer"]);
  });

  it("finds a wrong count, forgotten messages, a foreign secret and a foreign message", () => {
    const second = (content: string): Evidence => good({ attempts: [answered(1), answered(2, content)] });
    expect(kinds(second(answerTo("m2", 1, ["m1"])))).toEqual(["wrong_count"]);
    expect(kinds(second(answerTo("m2", 3, ["m1"])))).toEqual(["wrong_count"]);
    expect(kinds(second(answerTo("m2", 2)))).toEqual(["amnesia"]);
    expect(kinds(second(answerTo("m2", 2, ["m1"]).replace("yes", "no")))).toEqual(["foreign"]);
    expect(kinds(second(answerTo("m2", 2, ["m1", "x9"])))).toEqual(["foreign"]);
    const said = [...pair(1), ...pair(9), ...pair(2)];
    expect(kinds(good({}, { said, rows: undefined }))).toEqual(["unknown_message"]);
  });

  it("takes the answer to a message that was delivered into a turn for the answer of the whole turn, and no other", () => {
    const said = [
      ...pair(1),
      { role: "user", id: "r2", content: "m2 [[echo m2]]" },
      { role: "assistant", id: "a3", content: answerTo("m2", 3), answers: "r1" },
    ] as const;
    const rows = [row(1), row(2, { joined: "t1" })];
    const both = (first: string, second: string): Evidence =>
      good({ attempts: [answered(1, first, { settledAt: 2_100 }), answered(2, second)] }, { said, rows });
    const answer = answerTo("m2", 2);
    expect(kinds(both(answer, answer))).toEqual([]);
    expect(kinds(both(answerTo("m1", 1), answer))).toEqual(["wrong_answer"]);
    expect(kinds(both(answer, answerTo("m1", 1)))).toEqual(["wrong_answer"]);
  });

  it("finds a place that was not kept and a promise that was not", () => {
    const said = [...pair(2), ...pair(1)];
    const first = answered(1, answerTo("m1", 2), { takenAt: 1_050, settledAt: 3_000 });
    const second = answered(2, answerTo("m2", 1));
    expect(kinds(good({ attempts: [first, second] }, { said }))).toEqual(["order"]);
    expect(kinds(good({ attempts: [first, { ...second, steered: true }] }, { said }))).toEqual([]);
    const other = { ...second, user: "bob" };
    expect(kinds(good({ attempts: [first, other] }, { said }))).toEqual([]);
    const early = { ...first, settledAt: other.sentAt - 1 };
    expect(kinds(good({ attempts: [early, other] }, { said }))).toContain("order");
    const refused = attempt(2, { kind: "refused", code: "draining", retryAfterMs: 1 }, { takenAt: 2_050 });
    expect(kinds(good({ attempts: [answered(1), refused] }, { said: pair(1), rows: [row(1)] }))).toEqual([
      "promise_broken",
    ]);
  });

  it("finds what the model was asked twice", () => {
    expect(kinds(good({ asked: { m1: 1, m2: 2 } }))).toEqual(["run_again"]);
  });

  it("finds rows and history that disagree", () => {
    expect(kinds(good({}, { rows: [row(1)] }))).toContain("history_without_row");
    expect(kinds(good({}, { rows: [row(1), row(2, { state: "interrupted" })] }))).toEqual([
      "history_without_row",
    ]);
    expect(kinds(good({}, { rows: [row(1), row(2), row(3)] }))).toEqual(["row_without_history"]);
    expect(kinds(good({}, { rows: [row(1), row(2), row(2, { id: "t9" })] }))).toEqual(["row_wrong"]);
    const attempts = [answered(1), attempt(2, interrupted)];
    const half = { said: [...pair(1), ...pair(2).slice(0, 1)] };
    expect(kinds(good({ attempts, faults: [killed] }, half))).toEqual(["row_without_history"]);
    // An answer that no row accounts for, not even an interrupted one.
    expect(kinds(good({ attempts, faults: [killed] }, { rows: [row(1)] }))).toContain("history_without_row");
  });

  it("finds rows that are still open", () => {
    for (const state of ["accepted", "begun"] as const) {
      const rows = [row(1), row(2), row(3, { state, runtimeMessageId: null })];
      expect(kinds(good({}, { rows }))).toEqual(["row_open"]);
    }
  });

  it("finds calls that hang, interruptions that come late, and those that nothing explains", () => {
    expect(
      kinds(good({ attempts: [answered(1), attempt(2, { kind: "hung" })] }, { rows: undefined })),
    ).toEqual(["hung"]);
    const call = { client: "c", what: "resume", begunAt: 0, settledAt: 9_000, outcome: "hung" } as const;
    expect(kinds(good({ calls: [call] }))).toEqual(["hung"]);
    const cut = (settledAt: number) => [answered(1), attempt(2, interrupted, { settledAt })];
    const gone = { said: pair(1), rows: [row(1), row(2, { state: "interrupted", runtimeMessageId: null })] };
    expect(kinds(good({ attempts: cut(2_100), faults: [killed] }, gone))).toEqual([]);
    expect(kinds(good({ attempts: cut(4_100), faults: [killed] }, gone))).toEqual(["late"]);
    expect(kinds(good({ attempts: cut(2_100) }, gone))).toEqual(["unprovoked"]);
  });
});
