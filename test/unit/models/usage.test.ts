import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createUsageMeter } from "../../../src/models/usage.ts";

const stream = (events: readonly unknown[]): Buffer =>
  Buffer.from(events.map((event) => `event: x\r\ndata: ${JSON.stringify(event)}\r\n\r\n`).join(""));

const openai = [
  { choices: [{ delta: { content: 'says "usage": {"prompt_tokens": 999}' } }], usage: null },
  {
    choices: [],
    usage: { prompt_tokens: 7, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 2 } },
  },
];
const responses = [
  { type: "response.created", response: { usage: null } },
  {
    type: "response.completed",
    response: { usage: { input_tokens: 7, output_tokens: 3, input_tokens_details: { cached_tokens: 2 } } },
  },
];
const anthropic = [
  {
    type: "message_start",
    message: {
      usage: {
        input_tokens: 4,
        cache_creation_input_tokens: 1,
        cache_read_input_tokens: 2,
        output_tokens: 1,
      },
    },
  },
  { type: "content_block_delta", delta: { text: "ü" } },
  { type: "message_delta", usage: { output_tokens: 3 } },
];
const expected = { inputTokens: 7, outputTokens: 3, cachedTokens: 2, model: "m" };

describe("tokens of an answer", () => {
  test.each([
    ["chat completions", openai],
    ["responses", responses],
    ["Anthropic", anthropic],
  ])("are counted in a stream of %s, however it is cut", (_, events) => {
    const bytes = stream(events);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: bytes.length })), (cuts) => {
        const meter = createUsageMeter("m", "text/event-stream; charset=utf-8");
        const at = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
        for (let i = 1; i < at.length; i++) meter.push(bytes.subarray(at[i - 1], at[i]));
        expect(meter.take()).toEqual(expected);
        expect(meter.take()).toBeUndefined();
      }),
    );
  });

  test("are counted in a body that is no stream", () => {
    const body = Buffer.from(
      JSON.stringify({ choices: [], usage: { prompt_tokens: 7, completion_tokens: 3 } }),
    );
    const meter = createUsageMeter("m", "application/json");
    for (const byte of body) meter.push(Buffer.from([byte]));
    expect(meter.take()).toEqual({ ...expected, cachedTokens: 0 });
  });

  test("an overlong line is skipped and does not hide the next", () => {
    const meter = createUsageMeter("m", "text/event-stream");
    meter.push(Buffer.from("data: "));
    for (let i = 0; i < 80; i++) meter.push(Buffer.alloc(64 * 1024, "x"));
    meter.push(Buffer.from("\n"));
    meter.push(stream(openai));
    expect(meter.take()).toEqual(expected);
  });

  test("what is no usage counts nothing", () => {
    const meter = createUsageMeter("m", "text/event-stream");
    meter.push(Buffer.from('data: {"usage": {"prompt_tokens": "7"}}\ndata: {"usage": {bad\ndata: [DONE]\n'));
    expect(meter.take()).toBeUndefined();
  });
});
