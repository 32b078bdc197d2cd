import { afterAll, beforeAll, expect, test } from "vitest";
import { createLog } from "../../src/telemetry/log.ts";
import { httpOf } from "../support/http-client.ts";
import { startTestNode, type TestNode } from "../support/test-node.ts";

let squadron: TestNode;
const lines: Record<string, unknown>[] = [];

beforeAll(async () => {
  const destination = { write: (line: string) => void lines.push(JSON.parse(line)) };
  squadron = await startTestNode({ log: createLog({ level: "info", destination }) });
});
afterAll(() => squadron?.stop());

test("the log tells which lines are about a session that is known by its public id", async () => {
  const { body } = await httpOf(squadron).call("alice", "POST", "/v1/sessions", { name: "s" });
  await httpOf(squadron).call("alice", "POST", `/v1/sessions/${body.id}/messages`, { prompt: "hi" });
  const opened = lines.find(({ msg, id }) => msg === "session opened" && id === body.id);
  const ended = lines.find(({ msg }) => msg === "turn ended");
  expect(opened?.session).toBe(ended?.session);
  expect(opened?.session).toEqual(expect.any(String));
});
