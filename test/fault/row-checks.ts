import type { TurnRow } from "../../src/store/store.ts";
import type { Exchange, Report } from "./history-checker.ts";

/** Which row is of this message: clients know a message by the turn's id or by the runtime's. */
const rowsOf = (exchange: Exchange, rows: readonly TurnRow[]): readonly TurnRow[] => {
  const turnId = exchange.attempt?.outcome.kind === "answered" ? exchange.attempt.outcome.turnId : undefined;
  const ids = new Set([exchange.message.id, turnId].filter((id) => id !== undefined));
  return rows.filter(({ id, runtimeMessageId }) => ids.has(id) || ids.has(runtimeMessageId ?? ""));
};

const checkExchange = (exchange: Exchange, rows: readonly TurnRow[], report: Report): void => {
  const { marker, attempt, answer } = exchange;
  const own = rowsOf(exchange, rows);
  if (own.length > 1) report("row_wrong", marker, `It has ${own.length} turn rows.`);
  const completed = own.some(({ state }) => state === "completed");
  if (attempt?.outcome.kind === "answered" && !completed) {
    report(
      "history_without_row",
      marker,
      `It was answered; its turn row is ${own[0]?.state ?? "not there"}.`,
    );
  } else if (answer !== undefined && !completed) {
    // Interrupted at the end of its only step, a turn's answer may have been kept: its row must say interrupted then.
    const cut = own.length === 0 ? rows.some(({ state }) => state === "interrupted") : false;
    const said = own.some(
      ({ state }) => state === "interrupted" || state === "aborted" || state === "failed",
    );
    if (!cut && !said) {
      report(
        "history_without_row",
        marker,
        `The history has its answer; its row is ${own[0]?.state ?? "not there"}.`,
      );
    }
  }
  for (const { state } of own) {
    if (state === "refused") report("row_wrong", marker, "The history has a message whose turn was refused.");
    if (state === "completed" && answer === undefined) {
      report("row_without_history", marker, "Its turn row is completed; the history has no answer.");
    }
  }
};

/** History and turn rows must agree. */
export const checkRows = (exchanges: readonly Exchange[], rows: readonly TurnRow[], report: Report): void => {
  for (const exchange of exchanges) checkExchange(exchange, rows, report);
  for (const row of rows) {
    if (row.state === "accepted" || row.state === "begun") {
      report("row_open", undefined, `The turn ${row.id} is still ${row.state}.`);
    }
    if (row.state === "interrupted" && row.begunAt === null) {
      report("row_wrong", undefined, `The turn ${row.id} was interrupted and had not begun.`);
    }
    if (row.state !== "completed") continue;
    if (!exchanges.some((exchange) => rowsOf(exchange, [row]).length > 0)) {
      report(
        "row_without_history",
        undefined,
        `The turn ${row.id} is completed; the history has no such message.`,
      );
    }
  }
  const interrupted = rows.filter(({ state }) => state === "interrupted").length;
  const cut = exchanges.filter(
    (exchange) => exchange.answer !== undefined && rowsOf(exchange, rows).length === 0,
  );
  if (cut.length > interrupted) {
    report(
      "history_without_row",
      undefined,
      `${cut.length} answers have no row of their own, and only ${interrupted} turns were interrupted.`,
    );
  }
};
