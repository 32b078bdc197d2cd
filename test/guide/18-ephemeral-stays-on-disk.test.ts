import { expect, test } from "vitest";
import { httpOf } from "../support/http-client.ts";
import { startTestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";
import { filesWith } from "./files.ts";
import { openGuideMachine } from "./guide-machine.ts";
import { analyzeRoute } from "./guide-way.ts";

const canary = "canary-5b1e90";

test("the guide's ephemeral session stays on disk and in the list, for everybody to resume", async () => {
  await using machine = await openGuideMachine();
  const { cliUrl, home } = await machine.startCLI();
  const client = machine.newClient(cliUrl);
  const analyze = analyzeRoute(client, machine.sessionConfig);
  await analyze({ user: { id: "alice" }, body: { prompt: `my secret is ${canary}` } });
  expect(await filesWith(home, canary)).toContainEqual(
    expect.stringMatching(/session-state.*events\.jsonl$/),
  );
  const anybody = machine.newClient(cliUrl);
  await anybody.start();
  const [left] = await anybody.listSessions();
  expect(left?.summary).toContain(canary);
});

test("of our one-shot prompts nothing is left: answered, streamed, failed or cut", async () => {
  await using squadron = await startTestNode();
  const http = httpOf(squadron);
  const { node, model, directory } = squadron;
  const path = "/v1/prompts";

  const answer = await http.call("alice", "POST", path, { prompt: `[[echo ${canary}]]` });
  expect(answer).toMatchObject({ status: 200, body: { content: canary } });
  const events = await http.events("alice", path, { prompt: `[[echo ${canary}]]` });
  expect(events.at(-1)?.event).toBe("turn.completed");
  const failed = await http.call("alice", "POST", path, { prompt: `${canary} [[fail 401]]` });
  expect(failed.status).toBeGreaterThanOrEqual(400);
  const cut = new AbortController();
  const body = JSON.stringify({ prompt: `[[echo ${canary}]] [[hold cut]]` });
  const pending = squadron.fetch("alice", path, { method: "POST", body, signal: cut.signal });
  const rejected = expect(pending).rejects.toThrow();
  await eventually(() => model.holding("cut") === 1, { what: "the turn runs" });
  await eventually(async () => (await filesWith(directory, canary)).length > 0, {
    what: "the running turn has the prompt in a file",
  });
  cut.abort();
  await rejected;

  await eventually(() => node.gateway.hosts.length === 0 && node.gateway.connections === 0, {
    what: "the last session is gone",
  });
  await eventually(async () => (await filesWith(directory, canary)).length === 0, {
    what: "no file has the prompt any more",
  });
  expect(model.holding("cut")).toBe(0);
  const list = await http.call("alice", "GET", "/v1/sessions");
  expect(list.body.sessions).toEqual([]);
  const all = await http.call("admin", "GET", "/v1/admin/sessions");
  expect(all.body.sessions).toEqual([]);
  const client = squadron.client("alice");
  await client.start();
  expect(await client.listSessions()).toEqual([]);
});
