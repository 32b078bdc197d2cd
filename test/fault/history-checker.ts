/**
 * Decides whether a node kept its word: compares what clients did and saw with the histories and turn rows that are
 * there afterwards. Pure; as a program it reads the same input as JSON:
 * `node test/fault/history-checker.ts evidence.json` prints the violations and ends with 1 if there is any.
 */
import { readFileSync } from "node:fs";
import type { TurnRow } from "../../src/store/store.ts";
import type { Attempt, Journal } from "./journal.ts";
import { checkRows } from "./row-checks.ts";
import { markerIn, readAnswer } from "./talk.ts";

/** A message of a history, as a client reads it. */
export interface Said {
  readonly role: "user" | "assistant";
  readonly id: string;
  readonly content: string;
  /** Of an answer: the id of the message that it answers. */
  readonly answers?: string;
}

export interface SessionFacts {
  readonly session: string;
  readonly said: readonly Said[];
  /** Undefined where turn rows are not to be judged. */
  readonly rows: readonly TurnRow[] | undefined;
}

export interface Evidence extends Journal {
  readonly sessions: readonly SessionFacts[];
  /** A pending call must settle so soon after the fault that concerns it. */
  readonly settleMs: number;
  /** How often the model was asked to answer a message, by its marker; undefined where that is not to be judged. */
  readonly asked?: Readonly<Record<string, number>>;
}

export type ViolationKind =
  | "dead"
  | "stale_commit"
  | "unexpected_error"
  | "over_budget"
  | "hung"
  | "late"
  | "unprovoked"
  | "lost"
  | "wrong_sender"
  | "duplicated"
  | "run_again"
  | "promise_broken"
  | "refused_but_run"
  | "order"
  | "wrong_answer"
  | "wrong_count"
  | "amnesia"
  | "foreign"
  | "unknown_message"
  | "row_open"
  | "row_without_history"
  | "history_without_row"
  | "row_wrong"
  | "other_stream";

export interface Violation {
  readonly kind: ViolationKind;
  readonly session: string;
  readonly marker: string | undefined;
  readonly detail: string;
}

/** A user message of the history, with the attempt that it came from and its answer. */
export interface Exchange {
  readonly at: number;
  readonly message: Said;
  readonly marker: string;
  readonly attempt: Attempt | undefined;
  readonly answer: Said | undefined;
}

export type Report = (kind: ViolationKind, marker: string | undefined, detail: string) => void;

/** Messages of one turn, the first and those that were delivered into it: they have one answer, to the last of them. */
const turnsOf = (users: readonly Said[], rows: readonly TurnRow[]): ReadonlyMap<Said, readonly Said[]> => {
  const turnOf = ({ id }: Said): string => {
    const row = rows.find((one) => one.id === id || one.runtimeMessageId === id);
    return row?.joined ?? row?.id ?? id;
  };
  const turns = Map.groupBy(users, turnOf);
  return new Map(users.map((message) => [message, turns.get(turnOf(message)) ?? []]));
};

const exchangesOf = (
  said: readonly Said[],
  attempts: readonly Attempt[],
  rows: readonly TurnRow[],
): readonly Exchange[] => {
  const byMarker = new Map(attempts.map((attempt) => [attempt.marker, attempt]));
  const users = said.filter(({ role }) => role === "user");
  const turns = turnsOf(users, rows);
  return users.map((message, index) => {
    const marker = markerIn(message.content);
    const together = turns.get(message) ?? [];
    const ids = together.map(({ id }) => id);
    const markers = together.map(({ content }) => markerIn(content));
    const answer = said.findLast(
      ({ role, answers, content }) =>
        role === "assistant" &&
        ids.includes(answers ?? "") &&
        markers.includes(readAnswer(content)?.marker ?? ""),
    );
    return { at: index + 1, message, marker, attempt: byMarker.get(marker), answer };
  });
};

const checkAnswer = (
  attempt: Attempt,
  content: string,
  {
    exchanges,
    others,
    report,
  }: { exchanges: readonly Exchange[]; others: readonly Attempt[]; report: Report },
): void => {
  const { marker } = attempt;
  const answer = readAnswer(content);
  const own = exchanges.find((exchange) => exchange.marker === marker)?.answer;
  if (answer === undefined || answer.marker !== (readAnswer(own?.content ?? "")?.marker ?? marker)) {
    report("wrong_answer", marker, `The answer was: ${content}`);
    return;
  }
  if (!answer.knows) report("foreign", marker, "The answer does not know this session's system message.");
  const before = others.filter(
    (other) => other.outcome.kind === "answered" && other.settledAt < attempt.sentAt,
  );
  const place = exchanges.find((exchange) => exchange.marker === answer.marker)?.at;
  // What was interrupted may stand in the history and still not be told to the model.
  const least = before.length + 1;
  if (answer.count < least || (place !== undefined && answer.count > place)) {
    report("wrong_count", marker, `It counted ${answer.count}, not ${least} to ${place ?? "any"}.`);
  }
  if (answer.recalled === undefined) {
    const asked = marker === answer.marker ? attempt : others.find((one) => one.marker === answer.marker);
    if (asked?.recalls === true) report("wrong_answer", marker, "The answer recalls nothing.");
    return;
  }
  const recalled = answer.recalled.split(" / ").map((text) => markerIn(text.trim()));
  for (const other of before) {
    if (!recalled.includes(other.marker)) report("amnesia", marker, `It does not recall ${other.marker}.`);
  }
  const known = new Set(others.map((other) => other.marker));
  for (const one of recalled) {
    if (one !== "" && !known.has(one))
      report("foreign", marker, `It recalls ${one}, which is not of this session.`);
  }
};

const checkPresence = (attempt: Attempt, found: readonly Exchange[], report: Report): void => {
  const { marker, outcome, takenAt } = attempt;
  if (found.length > 1) report("duplicated", marker, `It stands in the history ${found.length} times.`);
  switch (outcome.kind) {
    case "answered":
      if (found.length === 0) report("lost", marker, "It was answered, and the history does not have it.");
      else if (found.every(({ answer }) => answer === undefined))
        report("lost", marker, "It was answered, and the history has no answer.");
      break;
    case "refused":
      if (found.length > 0) report("refused_but_run", marker, `It was refused (${outcome.code}).`);
      if (takenAt !== undefined)
        report("promise_broken", marker, `It was refused (${outcome.code}) after that.`);
      break;
    case "interrupted":
    case "failed":
    case "lost":
    case "hung":
      break;
  }
};

const answeredAt = ({ outcome, settledAt }: Attempt): number =>
  outcome.kind === "answered" ? settledAt : Number.POSITIVE_INFINITY;

const later = (one: Attempt | undefined, other: Attempt): Attempt =>
  one === undefined || other.sentAt > one.sentAt ? other : one;

/**
 * What was answered before something else was sent stands before it, and what was taken before its user sent something
 * else: users are served by turns.
 */
const checkOrder = (exchanges: readonly Exchange[], report: Report): void => {
  let latest: Attempt | undefined;
  const latestOf = new Map<string | undefined, Attempt>();
  const check = (attempt: Attempt, placedAt: number, after: Attempt | undefined): boolean => {
    if (after === undefined || placedAt >= after.sentAt) return true;
    report("order", attempt.marker, `It stands after ${after.marker}, which was sent when it had its place.`);
    return false;
  };
  for (const { attempt } of exchanges) {
    if (attempt === undefined) continue;
    const { user, takenAt = Number.POSITIVE_INFINITY } = attempt;
    if (check(attempt, answeredAt(attempt), latest)) check(attempt, takenAt, latestOf.get(user));
    if (attempt.steered === true) continue;
    latest = later(latest, attempt);
    latestOf.set(user, later(latestOf.get(user), attempt));
  }
};

/** A runtime that was harmed before a message is sent may still be what it runs into. */
const leastAftermathMs = 1_000;

const checkTimes = (evidence: Evidence, violations: Violation[]): void => {
  const { attempts, calls, faults, settleMs } = evidence;
  for (const { session, marker, sentAt, settledAt, outcome } of attempts) {
    const add = (kind: ViolationKind, detail: string) => violations.push({ kind, session, marker, detail });
    if (outcome.kind === "hung") add("hung", `Nothing came in ${Math.round(settledAt - sentAt)} ms.`);
    if (outcome.kind !== "interrupted") continue;
    const aftermathMs = Math.max(leastAftermathMs, settleMs);
    const near = faults.filter(({ at }) => at >= sentAt - aftermathMs && at <= settledAt);
    if (near.length === 0) add("unprovoked", `It was interrupted (${outcome.code}) though nothing happened.`);
    else if (near.every(({ at }) => settledAt - Math.max(at, sentAt) > settleMs)) {
      const waits = near.map(({ at }) => Math.round(settledAt - Math.max(at, sentAt)));
      add("late", `It settled ${Math.min(...waits)} ms after ${near.map(({ what }) => what).join(", ")}.`);
    }
  }
  for (const { client, what, begunAt, settledAt, outcome } of calls) {
    if (outcome !== "hung") continue;
    const detail = `${client}: ${what} did not settle in ${Math.round(settledAt - begunAt)} ms.`;
    violations.push({ kind: "hung", session: "", marker: undefined, detail });
  }
};

/** Every way in which the node did not keep its word; empty when it did. */
export const findViolations = (evidence: Evidence): readonly Violation[] => {
  const violations: Violation[] = [];
  checkTimes(evidence, violations);
  for (const { session, said, rows } of evidence.sessions) {
    const attempts = evidence.attempts.filter((attempt) => attempt.session === session);
    const report: Report = (kind, marker, detail) => violations.push({ kind, session, marker, detail });
    const exchanges = exchangesOf(said, attempts, rows ?? []);
    for (const { marker, attempt } of exchanges) {
      if (attempt === undefined) report("unknown_message", marker, "Nobody sent this into this session.");
    }
    for (const attempt of attempts) {
      const found = exchanges.filter(({ marker }) => marker === attempt.marker);
      checkPresence(attempt, found, report);
      if (attempt.outcome.kind !== "answered") continue;
      checkAnswer(attempt, attempt.outcome.content, { exchanges, others: attempts, report });
    }
    checkOrder(exchanges, report);
    if (rows !== undefined) checkRows(exchanges, rows, report);
  }
  for (const [marker, times] of Object.entries(evidence.asked ?? {})) {
    if (times > 1)
      violations.push({
        kind: "run_again",
        session: "",
        marker,
        detail: `The model was asked ${times} times.`,
      });
  }
  const known = new Set(evidence.sessions.map(({ session }) => session));
  for (const { session, marker, outcome } of evidence.attempts) {
    if (outcome.kind !== "answered" || known.has(session)) continue;
    violations.push({ kind: "lost", session, marker, detail: "The whole session is not there." });
  }
  return violations;
};

if (import.meta.main) {
  const [, , file = ""] = process.argv;
  const violations = findViolations(JSON.parse(readFileSync(file, "utf8")) as Evidence);
  process.stdout.write(`${JSON.stringify(violations, null, 2)}\n`);
  process.exitCode = violations.length > 0 ? 1 : 0;
}
