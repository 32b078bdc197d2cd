import { expect, test } from "vitest";
import { SquadronError } from "../../../src/kernel/errors.ts";
import { Secret } from "../../../src/kernel/secret.ts";
import { createLog, type LogLevel } from "../../../src/telemetry/log.ts";

const capture = (level: LogLevel = "trace") => {
  const lines: string[] = [];
  const log = createLog({ level, destination: { write: (line) => lines.push(line) } });
  const last = (): Record<string, unknown> => JSON.parse(lines.at(-1) ?? "");
  return { log, lines, last };
};

test("a line is one JSON object with level, time, fields and message", () => {
  const { log, lines, last } = capture();
  log.warn({ session: "s1", n: 3 }, "it\nhappened");
  expect(lines).toHaveLength(1);
  expect(lines[0]?.trimEnd()).not.toContain("\n");
  expect(last()).toMatchObject({ level: "warn", session: "s1", n: 3, msg: "it\nhappened" });
  expect(Date.parse(String(last().time))).not.toBeNaN();
});

test("what is below the level is not written, and silent writes nothing", () => {
  const info = capture("info");
  info.log.debug({}, "no");
  info.log.info({}, "yes");
  expect(info.lines).toHaveLength(1);
  const silent = capture("silent");
  silent.log.error({}, "no");
  expect(silent.lines).toHaveLength(0);
});

test("children carry their bindings and those of their parents", () => {
  const { log, last } = capture();
  log.child({ connection: "c1" }).child({ turn: "t1", token: "abc" }).info({ a: 1 }, "x");
  expect(last()).toMatchObject({ connection: "c1", turn: "t1", token: "[secret]", a: 1 });
});

test("no secret is ever printed, however it gets into a line", () => {
  const { log, lines, last } = capture();
  const secret = new Secret("hunter2hunter2");
  const error = new SquadronError("internal", "The header was Bearer hunter2hunter2.", {
    cause: Object.assign(new Error("inner"), { config: { apiKey: "hunter2hunter2" } }),
  });
  log.error({ secret, error }, "Authorization: Bearer hunter2hunter2");
  expect(last()).toMatchObject({ secret: "[secret]", msg: "Authorization: Bearer [secret]" });
  log.info({ deep: { list: [{ Authorization: "hunter2hunter2" }, { gitHubToken: "hunter2hunter2" }] } }, "x");
  log.info({ connectionToken: { value: "hunter2hunter2" }, map: new Map([["k", secret]]) }, "x");
  log
    .child({ secret })
    .info({}, "ghp_hunter2hunter2 and github_pat_hunter2hunter2 and sk-hunter2hunter2aaaaaa");
  expect(lines.join("")).not.toContain("hunter2");
  expect(lines.join("")).toContain("[secret]");
});

test("errors are printed with name, code, stack and cause", () => {
  const { log, last } = capture();
  log.error({ error: new SquadronError("timeout", "late", { cause: new TypeError("why") }) }, "x");
  expect(last().error).toMatchObject({
    name: "SquadronError",
    code: "timeout",
    message: "late",
    stack: expect.stringContaining("late"),
    cause: { name: "TypeError", message: "why" },
  });
});

test("a line is bounded whatever is logged", () => {
  const { log, lines } = capture();
  const circular: Record<string, unknown> = { text: "y".repeat(1_000_000) };
  circular.self = circular;
  log.info({ circular }, "z".repeat(1_000_000));
  const wide = Object.fromEntries(
    Array.from({ length: 10_000 }, (_, i) => [`key${i}`, { list: Array(1_000).fill("v") }]),
  );
  log.info({ wide, bytes: Buffer.alloc(100_000), big: 1n, when: new Date(0) }, "x");
  for (const line of lines) {
    expect(line.length).toBeLessThan(64_000);
    JSON.parse(line);
  }
  expect(lines[0]).toContain("cut, of 1000000");
});
