import { SquadronError } from "../../kernel/errors.ts";

/** A place in a list that is ordered by time and then id, both descending. */
export interface Position {
  readonly time: number;
  readonly id: string;
}

export const toCursor = ({ time, id }: Position): string =>
  Buffer.from(JSON.stringify([time, id])).toString("base64url");

/** Throws `invalid_request` for what `toCursor` did not make. */
export const fromCursor = (cursor: string): Position => {
  const position = parse(cursor);
  if (position === undefined)
    throw new SquadronError("invalid_request", "The cursor is not one of this list.");
  return position;
};

const parse = (cursor: string): Position | undefined => {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(cursor, "base64url").toString());
  } catch {
    return undefined;
  }
  if (!Array.isArray(value) || value.length !== 2) return undefined;
  const [time, id]: readonly unknown[] = value;
  return typeof time === "number" && typeof id === "string" ? { time, id } : undefined;
};
