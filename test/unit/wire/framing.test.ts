import { PassThrough } from "node:stream";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Message, StreamMessageReader, StreamMessageWriter } from "vscode-jsonrpc/node.js";
import { SquadronError } from "../../../src/kernel/errors.ts";
import { createSplitter, type Splitter } from "../../../src/wire/splitter.ts";
import { frameOf } from "../../../src/wire/writer.ts";
import { cutInto, cuts, message } from "./arbitrary.ts";

const drain = (splitter: Splitter): Buffer[] => {
  const bodies: Buffer[] = [];
  for (let body = splitter.next(); body !== undefined; body = splitter.next()) bodies.push(body);
  return bodies;
};

const split = (chunks: readonly Buffer[], maxFrameBytes?: number): Buffer[] => {
  const splitter = createSplitter(maxFrameBytes === undefined ? {} : { maxFrameBytes: () => maxFrameBytes });
  return chunks.flatMap((chunk) => {
    splitter.push(chunk);
    return drain(splitter);
  });
};

const codeOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof SquadronError) return error.code;
    throw error;
  }
  return "no error";
};

describe("splitter", () => {
  it("splits what vscode-jsonrpc writes, however it is chunked", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(message, { maxLength: 5 }), cuts, async (messages, places) => {
        const stream = new PassThrough();
        const writer = new StreamMessageWriter(stream);
        for (const { value } of messages) await writer.write(value as unknown as Message);
        stream.end();
        const chunks: Buffer[] = await stream.toArray();
        const bodies = split(cutInto(Buffer.concat(chunks), places));
        expect(bodies.map((body) => JSON.parse(body.toString()))).toEqual(messages.map(({ value }) => value));
      }),
      { numRuns: 200 },
    );
  });

  it("gives the bodies byte for byte, one byte a chunk too", () => {
    const bodies = ["{}", "", "é😀", "Content-Length: 3\r\n\r\nabc"];
    const bytes = Buffer.concat(bodies.map((body) => frameOf(body)));
    expect(split([...bytes].map((byte) => Buffer.from([byte]))).map(String)).toEqual(bodies);
    expect(split([bytes]).map(String)).toEqual(bodies);
  });

  it("takes header names in any case, and other headers", () => {
    const header =
      "Content-Type: application/vscode-jsonrpc; charset=utf-8\r\ncONTENT-lENGTH:   2  \r\nX-Empty:\r\n\r\n";
    expect(split([Buffer.from(`${header}{}`)]).map(String)).toEqual(["{}"]);
  });

  it("copies nothing when a frame lies in one chunk", () => {
    const chunk = frameOf("{}");
    const [body] = split([chunk]);
    expect(body?.buffer).toBe(chunk.buffer);
    expect(body?.byteOffset).toBe(chunk.byteOffset + chunk.length - 2);
  });

  it("copies a frame of many chunks once", () => {
    const frame = frameOf(Buffer.alloc(8 * 1024 * 1024, "x"));
    const concat = Buffer.concat;
    let copied = 0;
    Buffer.concat = (list, length) => {
      const joined = concat(list, length);
      copied += joined.length;
      return joined;
    };
    try {
      const chunks = Array.from({ length: Math.ceil(frame.length / 1000) }, (_, i) =>
        frame.subarray(i * 1000, (i + 1) * 1000),
      );
      expect(split(chunks)).toHaveLength(1);
    } finally {
      Buffer.concat = concat;
    }
    expect(copied).toBeLessThanOrEqual(frame.length);
  });

  it("says when it holds a part of a frame or header", () => {
    const splitter = createSplitter();
    const frame = frameOf("{}");
    const states = [...frame].map((byte) => {
      splitter.push(Buffer.from([byte]));
      drain(splitter);
      return splitter.partial;
    });
    expect(states).toEqual([...new Array(frame.length - 1).fill(true), false]);
  });

  it.each([
    ["no Content-Length", "Content-Type: x\r\n\r\n{}", "invalid_frame"],
    ["an empty header", "\r\n\r\n{}", "invalid_frame"],
    ["an empty number", "Content-Length: \r\n\r\n{}", "invalid_frame"],
    ["a negative number", "Content-Length: -1\r\n\r\n{}", "invalid_frame"],
    ["a signed number", "Content-Length: +2\r\n\r\n{}", "invalid_frame"],
    ["a hexadecimal number", "Content-Length: 0x2\r\n\r\n{}", "invalid_frame"],
    ["a fraction", "Content-Length: 2.0\r\n\r\n{}", "invalid_frame"],
    ["an exponent", "Content-Length: 1e1\r\n\r\n{}", "invalid_frame"],
    ["a list", "Content-Length: 2, 2\r\n\r\n{}", "invalid_frame"],
    ["a wide digit", "Content-Length: ２\r\n\r\n{}", "invalid_frame"],
    ["two equal Content-Lengths", "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", "invalid_frame"],
    [
      "two Content-Lengths in different cases",
      "Content-Length: 2\r\ncontent-length: 3\r\n\r\n{}",
      "invalid_frame",
    ],
    ["a line without a colon", "Content-Length: 2\r\nhello\r\n\r\n{}", "invalid_frame"],
    ["a folded line", "Content-Length: 2\r\n X: y\r\n\r\n{}", "invalid_frame"],
    ["a space before the colon", "Content-Length : 2\r\n\r\n{}", "invalid_frame"],
    ["bare line feeds", "Content-Length: 2\n\n{}\r\n\r\n", "invalid_frame"],
    ["HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "invalid_frame"],
    ["a body over the limit", "Content-Length: 1001\r\n\r\n", "too_large"],
    ["a number beyond all", `Content-Length: ${"9".repeat(400)}\r\n\r\n`, "too_large"],
    ["a header over 8 KiB", `X: ${"y".repeat(8192)}\r\nContent-Length: 2\r\n\r\n{}`, "too_large"],
  ])("refuses %s", (_, text, code) => {
    const bytes = Buffer.from(text);
    expect(codeOf(() => split([bytes], 1000))).toBe(code);
    expect(
      codeOf(() =>
        split(
          [...bytes].map((byte) => Buffer.from([byte])),
          1000,
        ),
      ),
    ).toBe(code);
  });

  it("takes a body of exactly the limit", () => {
    expect(split([frameOf("x".repeat(1000))], 1000)).toHaveLength(1);
  });

  it("refuses an endless header after 8 KiB", () => {
    const splitter = createSplitter();
    let pushed = 0;
    expect(
      codeOf(() => {
        for (; pushed < 100_000; pushed++) {
          splitter.push(Buffer.alloc(1024, "x"));
          splitter.next();
        }
      }),
    ).toBe("too_large");
    expect(pushed).toBe(7);
  });
});

describe("frameOf", () => {
  it("is read by vscode-jsonrpc, however it is chunked", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 5 }), cuts, async (messages, places) => {
        const stream = new PassThrough();
        const read: unknown[] = [];
        const reader = new StreamMessageReader(stream);
        const allRead = new Promise<void>((resolve, reject) => {
          reader.onError(reject);
          reader.listen((value) => {
            if (read.push(value) === messages.length) resolve();
          });
        });
        const frames = Buffer.concat(
          messages.map(({ text }) => frameOf(text.slice(0, 1), Buffer.from(text.slice(1)))),
        );
        for (const chunk of cutInto(frames, places)) stream.write(chunk);
        await allRead;
        reader.dispose();
        stream.destroy();
        expect(read).toEqual(messages.map(({ value }) => value));
      }),
      { numRuns: 100 },
    );
  });
});
