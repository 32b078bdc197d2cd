import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SquadronError } from "../../../src/kernel/errors.ts";
import { isObject } from "../../../src/kernel/json.ts";
import { type Envelope, readEnvelope } from "../../../src/wire/envelope.ts";
import { message } from "./arbitrary.ts";

const read = (text: string): Envelope => readEnvelope(Buffer.from(text));
const stringOr = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

const codeOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof SquadronError) return error.code;
    throw error;
  }
  return "no error";
};

describe("readEnvelope", () => {
  it("sees what JSON.parse sees, whatever the order, spacing and escapes", () => {
    fc.assert(
      fc.property(message, ({ value, text }) => {
        const frame = read(text);
        const params = value.params;
        const event = isObject(params) ? params.event : undefined;
        const kind =
          "error" in value
            ? "error"
            : "result" in value
              ? "result"
              : "id" in value
                ? "request"
                : "notification";
        expect(frame.kind).toBe(kind);
        expect(frame.id).toBe(value.id);
        expect(frame.method).toBe(value.method);
        expect(frame.sessionId).toBe(isObject(params) ? stringOr(params.sessionId) : undefined);
        expect(frame.eventType).toBe(isObject(event) ? stringOr(event.type) : undefined);
        expect(frame.eventId).toBe(isObject(event) ? stringOr(event.id) : undefined);
        expect(frame.ephemeral).toBe(isObject(event) && event.ephemeral === true);
        const bytes = frame.eventBytes();
        expect(bytes && JSON.parse(bytes.toString())).toEqual(isObject(event) ? event : undefined);
        expect(frame.params()).toEqual(params);
        expect(frame.result()).toEqual(value.result);
        expect(frame.error()).toEqual(value.error);
        if (kind === "result") expect(JSON.parse(frame.resultBytes().toString())).toEqual(value.result);
        else expect(codeOf(() => frame.resultBytes())).toBe("invalid_frame");
      }),
      { numRuns: 3000 },
    );
  });

  it("replaces the session id and nothing else", () => {
    fc.assert(
      fc.property(message, fc.string({ unit: "binary" }), ({ value, text }, sessionId) => {
        const frame = read(text);
        const params = value.params;
        if (!isObject(params) || typeof params.sessionId !== "string") {
          expect(codeOf(() => frame.withSessionId(sessionId))).toBe("invalid_frame");
          return;
        }
        const spliced = frame.withSessionId(sessionId);
        expect(JSON.parse(spliced.toString())).toEqual({ ...value, params: { ...params, sessionId } });
        expect(readEnvelope(spliced).sessionId).toBe(sessionId);
        expect(readEnvelope(spliced).withSessionId(params.sessionId).toString().length).toBeLessThanOrEqual(
          text.length,
        );
      }),
      { numRuns: 3000 },
    );
  });

  it("never fails otherwise than with parse_error or invalid_frame, and agrees with JSON.parse that it is JSON", () => {
    const damaged = fc
      .tuple(
        message,
        fc.nat(),
        fc.nat({ max: 3 }),
        fc.constantFrom("", '"', "\\", "{", "}", "[", "]", ",", ":", "1", "\u0000"),
      )
      .map(([{ text }, at, removed, put]) => {
        const place = at % (text.length + 1);
        return text.slice(0, place) + put + text.slice(place + removed);
      });
    fc.assert(
      fc.property(damaged, (text) => {
        let parses = true;
        try {
          JSON.parse(text);
        } catch {
          parses = false;
        }
        const code = codeOf(() => {
          const frame = read(text);
          frame.params();
          frame.result();
          frame.error();
        });
        if (parses) expect(["no error", "invalid_frame"]).toContain(code);
        else expect(["no error", "invalid_frame", "parse_error"]).toContain(code);
      }),
      { numRuns: 3000 },
    );
  });

  it("jumps over long strings with escaped quotes at every distance", () => {
    for (let length = 0; length < 100; length++) {
      for (const tail of ['\\"', "\\\\", '\\\\\\"', "x"]) {
        const text = `{"params":{"prompt":"${"a".repeat(length)}${tail}","sessionId":"s"},"method":"m"}`;
        expect(read(text).sessionId, text).toBe("s");
      }
    }
  });

  it.each([
    ["an empty body", "", "parse_error"],
    ["words", "hello", "parse_error"],
    ["a truncated object", '{"method":"m"', "parse_error"],
    ["a truncated string", '{"method":"m', "parse_error"],
    ["a truncated escape", '{"method":"m\\', "parse_error"],
    ["truncated params", '{"method":"m","params":{"a":[1', "parse_error"],
    ["something after the end", '{"method":"m"} {}', "parse_error"],
    ["a trailing comma", '{"method":"m",}', "parse_error"],
    ["a missing colon", '{"method" "m"}', "parse_error"],
    ["a missing comma", '{"method":"m""id":1}', "parse_error"],
    ["a bare key", '{method:"m"}', "parse_error"],
    ["a bad literal", '{"method":"m","x":nul}', "parse_error"],
    ["a bad number", '{"method":"m","id":01}', "parse_error"],
    ["no value", '{"method":"m","id":}', "parse_error"],
    ["a bad escape in the method", '{"method":"\\x"}', "parse_error"],
    ["a control character in the method", '{"method":"a\nb"}', "parse_error"],
    ["a byte order mark", '\ufeff{"method":"m"}', "parse_error"],
    ["a comment", '{"method":"m"/**/}', "parse_error"],
    ["a batch", '[{"method":"m"}]', "invalid_frame"],
    ["a string", '"m"', "invalid_frame"],
    ["null", "null", "invalid_frame"],
    ["an empty object", "{}", "invalid_frame"],
    ["an id alone", '{"id":1}', "invalid_frame"],
    ["a method that is a number", '{"method":1}', "invalid_frame"],
    ["a method that is null", '{"method":null,"id":1}', "invalid_frame"],
    ["params that are a string", '{"method":"m","params":"x"}', "invalid_frame"],
    ["params that are a number", '{"method":"m","params":0}', "invalid_frame"],
    ["an id that is an object", '{"method":"m","id":{}}', "invalid_frame"],
    ["an id that is true", '{"method":"m","id":true}', "invalid_frame"],
    ["an id that is null in a request", '{"method":"m","id":null}', "invalid_frame"],
    ["an id that is null in a result", '{"id":null,"result":1}', "invalid_frame"],
    ["an id that is a fraction", '{"method":"m","id":1.5}', "invalid_frame"],
    ["an id that is too large", '{"method":"m","id":9007199254740993}', "invalid_frame"],
    ["request and result in one", '{"method":"m","id":1,"result":1}', "invalid_frame"],
    ["result and error in one", '{"id":1,"result":1,"error":{"code":1,"message":""}}', "invalid_frame"],
    ["an error that is a string", '{"id":1,"error":"x"}', "invalid_frame"],
    ["an error without a code", '{"id":1,"error":{"message":"x"}}', "invalid_frame"],
    ["two methods", '{"method":"a","method":"a"}', "invalid_frame"],
    ["two methods, one in disguise", '{"method":"a","m\\u0065thod":"b"}', "invalid_frame"],
    ["two ids", '{"method":"a","id":1,"id":2}', "invalid_frame"],
    ["two params", '{"method":"a","params":{},"params":{}}', "invalid_frame"],
    ["two results", '{"id":1,"result":1,"result":2}', "invalid_frame"],
    ["two session ids", '{"method":"a","params":{"sessionId":"a","sessionId":"b"}}', "invalid_frame"],
    [
      "two session ids, one in disguise",
      '{"method":"a","params":{"sessionId":"a","\\u0073essionId":"b"}}',
      "invalid_frame",
    ],
    [
      "two session ids of different types",
      '{"method":"a","params":{"sessionId":1,"sessionId":"b"}}',
      "invalid_frame",
    ],
    ["params twice, one null", '{"method":"a","params":null,"params":{}}', "invalid_frame"],
    ["too deep nesting", `{"method":"a","params":${"[".repeat(127)}${"]".repeat(127)}}`, "invalid_frame"],
    ["bottomless nesting", `{"method":"a","params":${"[".repeat(5_000_000)}`, "invalid_frame"],
    ["malformed params", '{"method":"a","params":{"a":[}}', "parse_error"],
  ])("refuses %s", (_, text, code) => {
    expect(
      codeOf(() => {
        const frame = read(text);
        frame.params();
        frame.error();
      }),
    ).toBe(code);
  });

  it("refuses bytes that are not UTF-8, wherever they stand", () => {
    const bytes = Buffer.from('{"method":"m","params":{"a":"?"}}');
    bytes[bytes.indexOf("?")] = 0xff;
    expect(codeOf(() => readEnvelope(bytes))).toBe("parse_error");
  });

  it("takes what SDKs send beside the standard", () => {
    expect(read('{"id":1,"method":"m","params":null}').params()).toBeUndefined();
    expect(read('{"id":1,"result":null,"error":null}').kind).toBe("result");
    expect(read('{"id":1,"result":null,"error":{"code":1,"message":"x"}}').kind).toBe("error");
    expect(read('{"method":"m"}').kind).toBe("notification");
    expect(read('\r\n\t {"method":"m"}\n ').method).toBe("m");
    expect(read(`{"method":"a","params":${"[".repeat(126)}${"]".repeat(126)}}`).kind).toBe("notification");
  });

  it("says nothing of the content in its errors", () => {
    const frame = read('{"method":"m","params":{"a":{"token":"s3cret",}}}');
    expect(() => frame.params()).toThrow(/^(?!.*s3cret)/);
  });
});
