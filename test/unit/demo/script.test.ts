import { describe, expect, it } from "vitest";
import { type Conversation, type Message, nextMove, parseDirectives, unwrap } from "../../../demo/script.ts";

const user = (text: string): Message => ({ role: "user", text });
const conversation = (messages: readonly Message[], tools: readonly string[] = []): Conversation => ({
  model: "scripted-1",
  stream: true,
  messages,
  tools,
});
const move = (messages: readonly Message[], tools?: readonly string[], failed = 0) =>
  nextMove(conversation(messages, tools), { key: "the-key", failsNow: (_prompt, times) => failed < times });
const said = (...messages: readonly Message[]) => {
  const next = move(messages);
  return next.kind === "say" ? next.chunks.join("") : next;
};

describe("what the scripted model says", () => {
  it("says what it is, repeats the message and counts it", () => {
    expect(said(user("one"), { role: "assistant", text: "x" }, user("hello  there"))).toBe(
      'I am a scripted model, not an AI. You said: "hello  there" (message 2).',
    );
  });

  it("sees through what the runtime wraps around a prompt", () => {
    expect(unwrap("<current_datetime>2026-01-01T00:00:00Z</current_datetime>\n\nhello")).toBe("hello");
    expect(said(user("<current_datetime>now [[echo no]]</current_datetime>\n\n[[echo yes]]"))).toBe("yes");
  });

  it("has its cues, at these very words", () => {
    const cues = new Map([["What now?", "[[echo This.]]"]]);
    const at = (text: string) => {
      const next = nextMove(conversation([user(text)]), { key: "", failsNow: () => false, cues });
      return next.kind === "say" ? next.chunks.join("") : next;
    };
    expect(at("What now?")).toBe("This.");
    expect(at("What now? ")).toBe("This.");
    expect(at("And what now?")).toContain("You said");
  });

  it("takes its time with answers of its own, and with no others", () => {
    const at = (text: string) => {
      const next = nextMove(conversation([user(text)]), { key: "", failsNow: () => false, pace: 40 });
      return next.kind === "say" ? next.delayMs : next;
    };
    expect(at("hello")).toBe(40);
    expect(at("[[tokens 3]]")).toBe(0);
    expect(at("[[tokens 3]] [[delay 5]]")).toBe(5);
  });

  it("obeys only the last user message", () => {
    expect(said(user("[[echo old]]"), user("new"))).toContain('"new"');
  });

  it("says parts in order", () => {
    expect(said(user("a"), user("[[tokens 3]] [[count]] [[echo  x  y]] [[secret]] [[model]]"))).toBe(
      "t1 t2 t3 2 x  y the-key scripted-1",
    );
  });

  it("recalls earlier messages and knows its system message", () => {
    const system: Message = { role: "system", text: "The word is xyzzy." };
    expect(said(system, user("a"), user("b [[echo x]]"), user("[[recall]]"))).toBe("a / b [[echo x]]");
    expect(said(system, user("[[knows xyzzy]] [[knows plugh]]"))).toBe("yes no");
  });

  it("streams one chunk a token, and counts it as usage", () => {
    const next = move([user("[[tokens 50]]")]);
    expect(next).toMatchObject({ kind: "say", usage: { input: 10, output: 50 } });
    expect(next.kind === "say" && next.chunks).toHaveLength(50);
  });

  it("names the tools that it was offered", () => {
    expect(move([user("[[tools]]")], ["b", "a"])).toMatchObject({ chunks: ["a, ", "b"] });
  });

  it("complains about a directive that it does not know, and about a bad number", () => {
    expect(said(user("[[bogus]]"))).toContain('no directive "bogus"');
    expect(() => move([user("[[tokens many]]")])).toThrow(/whole number/);
  });

  it("refuses a conversation without a user", () => {
    expect(() => move([])).toThrow(/no user message/);
  });
});

describe("calls", () => {
  const prompt = user('[[call a {"q":"]]","n":[[1]]}]] and [[call b]]');
  const result = (text: string): Message => ({ role: "tool", text });

  it("makes them one after another and then says the results", () => {
    expect(move([prompt])).toMatchObject({ kind: "call", tool: "a", args: '{"q":"]]","n":[[1]]}' });
    expect(move([prompt, result("1")])).toMatchObject({ kind: "call", tool: "b", args: "{}" });
    expect(said(prompt, result("1"), result("2"))).toBe("a said: 1 b said: 2");
  });

  it("takes malformed arguments for plain text", () => {
    expect(parseDirectives("[[call a {oops]] [[echo x]]")).toEqual({
      directives: [{ name: "echo", rest: "x" }],
      plain: "[[call a {oops]]",
    });
  });
});

describe("failures", () => {
  it("fails with a status as often as told, then speaks", () => {
    expect(move([user("[[fail 429]]")], [], 99)).toEqual({ kind: "fail", status: 429 });
    expect(move([user("[[fail 500 2]] [[echo ok]]")], [], 1)).toEqual({ kind: "fail", status: 500 });
    expect(move([user("[[fail 500 2]] [[echo ok]]")], [], 2)).toMatchObject({ kind: "say", chunks: ["ok"] });
  });
});
