import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ScriptedModel, startScriptedModel } from "../../../demo/scripted-model.ts";
import { eventually } from "../../support/wait.ts";

let model: ScriptedModel;
beforeEach(async () => {
  model = await startScriptedModel({ apiKey: "k", keepRequests: 3 });
});
afterEach(() => model.close());

const headers = { authorization: "Bearer k", "content-type": "application/json" };
const post = (path: string, body: unknown, init: RequestInit = {}) =>
  fetch(`${model.url}${path}`, { method: "POST", headers, body: JSON.stringify(body), ...init });
const chat = (prompt: string, more: object = {}, init: RequestInit = {}) =>
  post(
    "/chat/completions",
    { model: "scripted-1", messages: [{ role: "user", content: prompt }], ...more },
    init,
  );
const frames = (text: string): unknown[] =>
  [...text.matchAll(/^data: (\{.*)$/gm)].map((match): unknown => JSON.parse(match[1] ?? ""));

describe("the scripted model server", () => {
  it("lists its two models", async () => {
    const answer = await fetch(`${model.url}/models`, { headers });
    expect(await answer.json()).toMatchObject({ data: [{ id: "scripted-1" }, { id: "scripted-2" }] });
  });

  it("wants its key and repeats a wrong one in the error, as providers do", async () => {
    const answer = await chat("hi", {}, { headers: { authorization: "Bearer wrong" } });
    expect(answer.status).toBe(401);
    expect(await answer.text()).toContain("wrong");
  });

  it("answers in one piece", async () => {
    expect(await (await chat("[[echo hi there]]")).json()).toMatchObject({
      choices: [{ message: { content: "hi there" }, finish_reason: "stop" }],
      usage: { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 },
    });
  });

  it("streams chat completions", async () => {
    const text = await (await chat("[[tokens 3]]", { stream: true })).text();
    const deltas = frames(text).map(
      (frame) => (frame as { choices: [{ delta: { content?: string } }] }).choices[0],
    );
    expect(deltas.map((choice) => choice.delta.content ?? "").join("")).toBe("t1 t2 t3");
    expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
  });

  it("streams a call", async () => {
    const text = await (await chat('[[call look {"q":1}]]', { stream: true })).text();
    expect(text).toContain('"function":{"name":"look","arguments":"{\\"q\\":1}"}');
    expect(text).toContain('"finish_reason":"tool_calls"');
  });

  it("streams responses", async () => {
    const text = await (
      await post("/responses", { model: "m", stream: true, input: "[[echo hi you]]" })
    ).text();
    expect(frames(text).map((frame) => (frame as { type: string }).type)).toEqual([
      "response.created",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.delta",
      "response.output_text.delta",
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.completed",
    ]);
  });

  it("fails the first N requests of a prompt", async () => {
    expect((await chat("[[fail 503 1]]")).status).toBe(503);
    expect((await chat("[[fail 503 1]]")).status).toBe(200);
    expect((await chat("[[fail 503 1]] other")).status).toBe(503);
  });

  it("holds a reply until it is released", async () => {
    const answer = await chat("[[echo one two]] [[hold here]]", { stream: true });
    await eventually(() => model.holding("here") === 1, { what: "the reply is held" });
    expect(model.requests.at(-1)?.outcome).toBe("running");
    expect(model.release("here")).toBe(1);
    expect(await answer.text()).toContain('"content":"two"');
    expect(model.holding("here")).toBe(0);
  });

  it("notices that a held caller has gone", async () => {
    const caller = new AbortController();
    const answer = await chat("[[hold here]]", { stream: true }, { signal: caller.signal });
    await eventually(() => model.holding("here") === 1, { what: "the reply is held" });
    caller.abort();
    await expect(answer.text()).rejects.toThrow();
    await eventually(() => model.requests.at(-1)?.outcome === "aborted", { what: "the reply is aborted" });
    expect(model.holding("here")).toBe(0);
  });

  it("cuts the connection after the first chunk", async () => {
    const answer = await chat("[[echo one two]] [[cut]]", { stream: true });
    let text = "";
    const read = async () => {
      for await (const chunk of answer.body ?? []) text += Buffer.from(chunk).toString();
    };
    await expect(read()).rejects.toThrow();
    expect(text).toContain("one");
    expect(text).not.toContain("two");
    expect(model.requests.at(-1)?.outcome).toBe("cut");
  });

  it("remembers a bounded number of requests", async () => {
    for (const prompt of ["1", "2", "3", "4"]) await (await chat(prompt)).text();
    expect(model.requests.map((request) => request.body)).toMatchObject(
      ["2", "3", "4"].map((content) => ({ messages: [{ content }] })),
    );
    expect(model.requests[0]).toMatchObject({
      path: "/chat/completions",
      headers: { authorization: "Bearer k" },
    });
  });

  it("closes although replies are held or delayed", async () => {
    const held = await chat("[[hold x]]", { stream: true });
    const delayed = chat("[[delay 600000]]", { stream: true });
    await eventually(() => model.holding("x") === 1, { what: "the reply is held" });
    await eventually(() => model.requests.length === 2, { what: "the delayed request has come" });
    await model.close();
    await expect(held.text()).rejects.toThrow();
    await delayed.then((answer) => answer.text()).catch(() => undefined);
    expect(model.requests.map((request) => request.outcome)).toEqual(["aborted", "aborted"]);
    model = await startScriptedModel();
  });
});
