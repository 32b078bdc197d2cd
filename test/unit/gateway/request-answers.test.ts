import { describe, expect, it, vi } from "vitest";
import { checkAnswer } from "../../../src/gateway/answer-check.ts";
import { mayAnswer } from "../../../src/gateway/answer-right.ts";
import { answerParameters, type PersonalAnswer } from "../../../src/gateway/request-answers.ts";
import { boundedDetail } from "../../../src/gateway/request-detail.ts";
import { completions, isAnswer, requestKinds } from "../../../src/gateway/request-kinds.ts";
import { createUserInputs } from "../../../src/gateway/user-inputs.ts";
import type { Json } from "../../../src/kernel/json.ts";
import { methodEntries } from "../../../src/wire/method-table.ts";

const alice = { tenant: "acme", user: "alice" };
const bob = { tenant: "acme", user: "bob" };
const namesake = { tenant: "globex", user: "bob" };

describe("who may answer", () => {
  it.each([
    [alice, alice, "owner", true],
    [bob, alice, "owner", true],
    [undefined, alice, "owner", true],
    [bob, bob, "writer", true],
    [alice, bob, "writer", false],
    [undefined, bob, "writer", false],
    [namesake, bob, "writer", false],
    [bob, bob, "reader", false],
    [bob, bob, undefined, false],
  ] as const)("sent by %o, answered by %o as %s: %s", (sender, who, role, may) => {
    expect(mayAnswer(sender, who, role)).toBe(may);
  });
});

describe("an answer", () => {
  const answers: readonly [PersonalAnswer, unknown][] = [
    [
      { kind: "permission", decision: "allow" },
      { result: { kind: "approve-once", approvedInteractively: true } },
    ],
    [{ kind: "permission", decision: "deny" }, { result: { kind: "reject" } }],
    [{ kind: "permission", decision: "deny", reason: "no" }, { result: { kind: "reject", feedback: "no" } }],
    [
      { kind: "elicitation", action: "accept", content: { n: 1 } },
      { result: { action: "accept", content: { n: 1 } } },
    ],
    [{ kind: "elicitation", action: "cancel" }, { result: { action: "cancel" } }],
    [{ kind: "tool_call", result: "text" }, { result: "text" }],
    [{ kind: "tool_call", result: ["a", 1] }, { result: '["a",1]' }],
    [{ kind: "tool_call", error: "none" }, { error: "none" }],
  ];
  it.each(answers)("%o is given to the runtime in its own words", (answer, parameters) => {
    expect(answerParameters(answer)).toEqual(parameters);
  });

  const form: Json = {
    requestedSchema: {
      type: "object",
      properties: {
        name: { type: "string", enum: ["a", "b"] },
        n: { type: "integer" },
        x: { type: "number" },
        sure: { type: "boolean" },
        many: { type: "array", items: { type: "string", enum: ["p", "q"] } },
        any: {},
      },
      required: ["name"],
    },
  };
  const choices = (allowFreeform: boolean): Json => ({ choices: ["red", "blue"], allowFreeform });
  const fill = (content: Record<string, Json>): PersonalAnswer => ({
    kind: "elicitation",
    action: "accept",
    content,
  });
  it.each<[Json, PersonalAnswer]>([
    [form, fill({ name: "a", n: 1, x: 1.5, sure: false, many: ["p", "q"], any: "thing" })],
    [form, { kind: "elicitation", action: "decline" }],
    [{ url: "https://example.test" }, { kind: "elicitation", action: "accept" }],
    [choices(true), { kind: "user_input", answer: "green" }],
    [choices(false), { kind: "user_input", answer: "blue" }],
    [{}, { kind: "user_input", answer: "" }],
    [{}, { kind: "permission", decision: "allow" }],
  ])("to %o may be %o", (detail, answer) => {
    expect(() => checkAnswer(detail, answer)).not.toThrow();
  });
  it.each<[string, PersonalAnswer]>([
    ["content.name", fill({})],
    ["content.name", fill({ name: "c" })],
    ["content.n", fill({ name: "a", n: 1.5 })],
    ["content.x", fill({ name: "a", x: "1" })],
    ["content.sure", fill({ name: "a", sure: "yes" })],
    ["content.many", fill({ name: "a", many: ["r"] })],
    ["content.toString", fill({ name: "a", toString: "x" })],
    ["content", { kind: "elicitation", action: "cancel", content: {} }],
  ])("to a form is refused for its field %s", (field, answer) => {
    expect(() => checkAnswer(form, answer)).toThrow(
      expect.objectContaining({ code: "invalid_request", details: { in: "body", field } }),
    );
  });
  it("to a choice must be one of them if there is nothing else", () => {
    expect(() => checkAnswer(choices(false), { kind: "user_input", answer: "green" })).toThrow(/choices/);
  });
});

describe("the kinds of requests", () => {
  const answering = methodEntries().filter(({ method }) => isAnswer(method));

  it("are answered by methods of the table, each taken for an answer", () => {
    const known = answering.map(({ method }) => method);
    for (const { method } of Object.values(requestKinds)) expect(known).toContain(method);
    expect(known).toContain("session.ui.handlePendingUserInput");
    expect(answering.filter(({ scope }) => scope !== "session")).toEqual([]);
  });

  it("end with an event of their own name", () => {
    const named = (type: string) => type.replace(/[._]\w+$/, "");
    expect(new Set([...completions].map(named))).toEqual(new Set(Object.keys(requestKinds).map(named)));
  });
});

describe("what a runtime says of its question", () => {
  it("is kept as it is, and cut when it is large", () => {
    const small = { a: "text", b: [1, null, true], c: { d: "more" } };
    expect(boundedDetail(small)).toEqual(small);
    const large = boundedDetail({ diff: "x".repeat(100_000), after: "gone", n: 5 }) as Record<string, Json>;
    expect(String(large.diff)).toHaveLength(64 * 1024 + 1);
    expect(large).toMatchObject({ after: "…", n: 5 });
    const many = boundedDetail({ list: Array.from({ length: 50_000 }, (_, at) => at) }) as { list: Json[] };
    expect(many.list.length).toBeLessThan(5_000);
  });
});

describe("user input", () => {
  const question = { question: "Which?", choices: ["a"] };
  const setUp = () => {
    const closed = vi.fn();
    return { closed, inputs: createUserInputs({ closed }) };
  };

  it("has the id of the event with the same words, the first for the first", () => {
    const { inputs } = setUp();
    for (const requestId of ["one", "two"]) inputs.seen("user_input.requested", { requestId, ...question });
    inputs.seen("user_input.requested", { requestId: "other", question: "Who?" });
    expect(inputs.asked({ sessionId: "s", question: "Who?" })).toBe("other");
    expect([inputs.asked(question), inputs.asked(question), inputs.asked(question)]).toEqual([
      "one",
      "two",
      undefined,
    ]);
  });

  it("is over when the runtime says so, and then no callback's any more", () => {
    const { inputs, closed } = setUp();
    inputs.seen("user_input.requested", { requestId: "one", ...question });
    inputs.seen("user_input.completed", { requestId: "one" });
    expect([closed.mock.calls, inputs.asked(question)]).toEqual([[["one"]], undefined]);
  });

  it("that no callback follows is forgotten", () => {
    const { inputs } = setUp();
    for (let nth = 0; nth < 200; nth++)
      inputs.seen("user_input.requested", { requestId: `q${nth}`, question: `${nth}` });
    expect([inputs.asked({ question: "50" }), inputs.asked({ question: "150" })]).toEqual([
      undefined,
      "q150",
    ]);
  });
});
