import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createStreamScrubber, scrubbedEvent } from "../../../src/models/stream-scrub.ts";

const through = (chunks: readonly (string | Buffer)[]): string => {
  const scrubber = createStreamScrubber();
  return Buffer.concat([
    ...chunks.map((chunk) => scrubber.push(Buffer.from(chunk))),
    scrubber.end(),
  ]).toString("utf8");
};
const secret = "org-abc at https://models.example.com with sk-12345";

describe("errors inside a stream that began well", () => {
  it.each([
    ["chat completions", { error: { message: secret, type: "server_error", code: "server_error" } }],
    ["Anthropic", { type: "error", error: { type: "overloaded_error", message: secret } }],
    ["responses, an event", { type: "error", code: "server_error", message: secret, param: secret }],
    [
      "responses, failed",
      { type: "response.failed", response: { id: "r", error: { code: "server_error", message: secret } } },
    ],
  ])("lose the provider's words: %s", (_kind, event) => {
    const shown = through(["event: x\n", `data: ${JSON.stringify(event)}\n\n`]);
    expect(shown).not.toContain("org-abc");
    expect(shown).not.toContain("sk-12345");
    expect(shown).toMatch(/^event: x\ndata: \{.*The model provider .*\}\n\n$/s);
  });

  it("keep what is no error as it is, also where an answer speaks of errors", () => {
    const stream = `data: {"choices":[{"delta":{"content":"\\"error\\" is a word"}}]}\n\ndata: {"error":null}\n\ndata: [DONE]\n\n`;
    expect(through([stream])).toBe(stream);
    const event = { choices: [] };
    expect(scrubbedEvent(event)).toBe(event);
  });

  it("are found however the bytes are cut, and every other byte passes", () => {
    const event = `data: ${JSON.stringify({ error: { message: secret } })}`;
    const stream = `data: {"a":"é"}\n\n${event}\n\ndata: last without an end`;
    const whole = through([stream]);
    const bytes = Buffer.from(stream);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 8 }), (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), bytes.length];
        const pieces = at.slice(1).map((end, index) => bytes.subarray(at[index], end));
        expect(through(pieces)).toBe(whole);
      }),
    );
    expect(whole).toContain('data: {"a":"é"}\n\n');
    expect(whole).toContain("data: last without an end");
    expect(whole).not.toContain("org-abc");
  });

  it("cannot hide in a line without an end", () => {
    const scrubber = createStreamScrubber();
    const block = Buffer.alloc(1024 * 1024, "x");
    expect(() => {
      for (let at = 0; at < 10; at++) scrubber.push(block);
    }).toThrow(/longer than/);
  });
});
