import { SquadronError } from "../kernel/errors.ts";

/**
 * Finds where JSON values begin and end in UTF-8 bytes without building them. Positions are byte offsets; every
 * function throws `parse_error` where it meets malformed JSON. Strings and containers that are only skipped are
 * not checked inside: whoever uses their content parses it.
 */

/**
 * Levels of nesting that a message may have. The runtime's parser has this limit and answers a deeper frame without
 * an id, so that its request would hang.
 */
export const maxDepth = 127;

const quote = 0x22;
const backslash = 0x5c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const comma = 0x2c;
const colon = 0x3a;

/** A string is walked for this many bytes before a native search pays. */
const walkBytes = 32;

export const malformed = (what: string): SquadronError =>
  new SquadronError("parse_error", `The message is not valid JSON: ${what}.`);

/** The first position from `at` that is not white space. */
export const skipSpace = (json: Buffer, at: number): number => {
  let i = at;
  for (;;) {
    const byte = json[i];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return i;
    i++;
  }
};

/** The position after the string whose opening quote is at `at`. */
const skipString = (json: Buffer, at: number): number => {
  let i = at + 1;
  for (;;) {
    const walkEnd = Math.min(i + walkBytes, json.length);
    while (i < walkEnd) {
      const byte = json[i];
      if (byte === quote) return i + 1;
      i += byte === backslash ? 2 : 1;
    }
    const found = json.indexOf(quote, i);
    if (found < 0) throw malformed("a string does not end");
    let escapes = found;
    while (escapes > i && json[escapes - 1] === backslash) escapes--;
    i = found + 1;
    if ((found - escapes) % 2 === 0) return i;
  }
};

/** The position after the object or array that begins at `at`, itself at level `depth`. */
const skipContainer = (json: Buffer, at: number, depth: number): number => {
  let level = depth - 1;
  let i = at;
  while (i < json.length) {
    const byte = json[i];
    if (byte === quote) {
      i = skipString(json, i);
      continue;
    }
    i++;
    if (byte === openBrace || byte === openBracket) {
      if (++level > maxDepth) {
        throw new SquadronError("invalid_frame", `A message is nested deeper than ${maxDepth} levels.`);
      }
    } else if ((byte === closeBrace || byte === closeBracket) && --level < depth) return i;
  }
  throw malformed("it ends inside an object or array");
};

const number = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/;

/** The position after the number or literal at `at`. */
const skipScalar = (json: Buffer, at: number): number => {
  let i = at;
  let digitsOnly = true;
  for (;;) {
    const byte = json[i];
    if (byte === undefined || byte <= 0x20 || byte === comma || byte === closeBrace || byte === closeBracket)
      break;
    if (byte < 0x30 || byte > 0x39) digitsOnly = false;
    i++;
  }
  if (digitsOnly && i > at && (json[at] !== 0x30 || i === at + 1)) return i;
  const text = json.toString("latin1", at, i);
  if (text !== "true" && text !== "false" && text !== "null" && !number.test(text))
    throw malformed("a value is expected");
  return i;
};

/** The position after the value that begins at `at`; a container there is at level `depth`. */
export const skipValue = (json: Buffer, at: number, depth: number): number => {
  const byte = json[at];
  if (byte === quote) return skipString(json, at);
  if (byte === openBrace || byte === openBracket) return skipContainer(json, at, depth);
  return skipScalar(json, at);
};

/**
 * Calls `member` for each member of the object that begins at `at`, with the key's range (quotes included) and the
 * start of its value; `member` returns the position after the value. Returns the position after the object.
 */
export const scanObject = (
  json: Buffer,
  at: number,
  member: (keyStart: number, keyEnd: number, valueStart: number) => number,
): number => {
  let i = skipSpace(json, at + 1);
  if (json[i] === closeBrace) return i + 1;
  for (;;) {
    if (json[i] !== quote) throw malformed("a key is expected");
    const keyStart = i;
    const keyEnd = skipString(json, keyStart);
    i = skipSpace(json, keyEnd);
    if (json[i] !== colon) throw malformed("a colon is expected");
    i = skipSpace(json, member(keyStart, keyEnd, skipSpace(json, i + 1)));
    if (json[i] === closeBrace) return i + 1;
    if (json[i] !== comma) throw malformed("a comma or closing brace is expected");
    i = skipSpace(json, i + 1);
  }
};

/** Which of `names` (ASCII) the string at `start`..`end` (quotes included) is; escapes count as what they mean. */
export const nameAt = <Name extends string>(
  json: Buffer,
  start: number,
  end: number,
  names: readonly Name[],
): Name | undefined => {
  for (const name of names) {
    if (name.length !== end - start - 2) continue;
    let i = 0;
    while (i < name.length && json[start + 1 + i] === name.charCodeAt(i)) i++;
    if (i === name.length) return name;
  }
  for (let i = start + 1; i < end - 1; i++) {
    if (json[i] !== backslash) continue;
    const text = stringAt(json, start, end);
    return names.find((name) => name === text);
  }
  return undefined;
};

/** The value of the string at `start`..`end` (quotes included). */
export const stringAt = (json: Buffer, start: number, end: number): string => {
  let plain = true;
  for (let i = start + 1; i < end - 1; i++) {
    const byte = json[i];
    if (byte === backslash || (byte !== undefined && byte < 0x20)) plain = false;
  }
  return plain ? json.toString("utf8", start + 1, end - 1) : String(valueAt(json, start, end));
};

/** The value at `start`..`end`, parsed. */
export const valueAt = (json: Buffer, start: number, end: number): unknown => {
  try {
    return JSON.parse(json.toString("utf8", start, end));
  } catch {
    // The parser's own message quotes the text, which may be secret.
    throw malformed("a value in it cannot be parsed");
  }
};
