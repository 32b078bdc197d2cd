import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { openStore } from "../../src/store/open-store.ts";
import { httpOf } from "../support/http-client.ts";
import { tempDir } from "../support/temp.ts";
import { startTestNode, type TestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";

const marker = "one-shot-marker-7431";

let squadron: TestNode;
beforeAll(async () => {
  squadron = await startTestNode({ isolation: "user" });
});
afterAll(async () => {
  await squadron?.stop();
});

const http = () => httpOf(squadron);

/** Every file of the node whose name or content has the text. */
const filesWith = async (directory: string, text: string): Promise<readonly string[]> => {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const found = await Promise.all(
    entries.map(async (entry) => {
      const path = join(entry.parentPath, entry.name);
      if (path.includes(text)) return [path];
      return entry.isFile() && (await readFile(path)).includes(text) ? [path] : [];
    }),
  );
  return found.flat();
};

/** Directories of sessions in the runtimes' state. */
const sessionDirectories = async (): Promise<readonly string[]> => {
  const entries = await readdir(join(squadron.directory, "state"), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory() && entry.parentPath.endsWith("session-state"))
    .map(({ name }) => name);
};

const expectNoTrace = async (): Promise<void> => {
  const { store, gateway } = squadron.node;
  expect(await store.sessions.ephemerals()).toEqual([]);
  expect((await store.sessions.listAll({ limit: 100 })).sessions).toEqual([]);
  expect(gateway.hosts).toEqual([]);
  expect((await http().call("alice", "GET", "/v1/sessions")).body.sessions).toEqual([]);
  expect(await sessionDirectories()).toEqual([]);
  await expect.poll(() => filesWith(squadron.directory, marker), { timeout: 5_000 }).toEqual([]);
};

describe("a one-shot prompt leaves nothing", () => {
  afterEach(() => expectNoTrace());

  test("after its answer", async () => {
    const answer = await http().call("alice", "POST", "/v1/prompts", {
      prompt: `${marker} [[echo hello]] [[knows ${marker}]] [[model]]`,
      systemMessage: `Remember ${marker}.`,
      model: "scripted-2",
    });
    expect(answer).toMatchObject({
      status: 200,
      body: {
        content: expect.stringContaining("hello"),
        model: "scripted-2",
        usage: { inputTokens: expect.any(Number) },
      },
    });
    expect(answer.body.content).toContain("yes");
    expect(answer.body.content).toContain("scripted-2");
  });

  test("after a stream", async () => {
    const events = await http().events("alice", "/v1/prompts", { prompt: `${marker} [[tokens 3]]` });
    expect(events.map(({ event }) => event)).toContain("assistant.message_delta");
    expect(events.at(-1)).toMatchObject({ event: "turn.completed", data: { content: "t1 t2 t3" } });
  });

  test("after an error of the model", async () => {
    const failed = await http().call("alice", "POST", "/v1/prompts", { prompt: `${marker} [[fail 400]]` });
    expect(failed).toMatchObject({ status: 502, body: { code: "turn_failed" } });
    const events = await http().events("alice", "/v1/prompts", { prompt: `${marker} [[fail 400]]` });
    expect(events.at(-1)).toMatchObject({ event: "turn.failed", data: { code: "turn_failed" } });
  });

  test("after a request that is refused", async () => {
    const refused = await http().call("alice", "POST", "/v1/prompts", {
      prompt: marker,
      attachments: [{ type: "blob", data: "not base64!", mimeType: "text/plain" }],
    });
    expect(refused).toMatchObject({
      status: 400,
      body: { code: "invalid_request", details: { field: "attachments.0.data" } },
    });
  });

  test.each([
    ["waits", undefined],
    ["reads the stream", { accept: "text/event-stream" }],
  ])("after a client that %s goes away", async (_what, headers) => {
    const hold = `hold-${_what.replaceAll(" ", "-")}`;
    const client = new AbortController();
    const gone = squadron
      .fetch("alice", "/v1/prompts", {
        method: "POST",
        body: JSON.stringify({ prompt: `${marker} [[hold ${hold}]] [[tokens 3]]` }),
        signal: client.signal,
        ...(headers !== undefined && { headers }),
      })
      .then((response) => response.text());
    await eventually(() => squadron.model.holding(hold) > 0, { what: "the model is answering" });
    client.abort();
    await expect(gone).rejects.toThrow();
    await eventually(() => squadron.node.gateway.connections === 0, {
      what: "the request's connection is closed",
    });
  });
});

test("a one-shot prompt leaves nothing when its session cannot be made", async () => {
  await using broken = await startTestNode({ runtimes: { command: "/bin/false" } });
  const answer = await httpOf(broken).call("alice", "POST", "/v1/prompts", { prompt: marker });
  expect(answer).toMatchObject({ status: 503, body: { code: "runtime_start_failed" } });
  expect(answer.headers.get("retry-after")).toMatch(/^\d+$/);
  expect(await broken.node.store.sessions.ephemerals()).toEqual([]);
  expect(broken.node.gateway.connections).toBe(0);
});

test("a one-shot prompt leaves nothing when its node closes", async () => {
  await using directory = await tempDir("closing");
  await using node = await startTestNode({ isolation: "shared", directory: directory.path });
  const answer = httpOf(node).call("alice", "POST", "/v1/prompts", {
    prompt: `${marker} [[hold close]] [[tokens 3]]`,
  });
  await eventually(() => node.model.holding("close") > 0, { what: "the model is answering" });
  await node.node.close();
  expect(await answer).toMatchObject({ status: 503, body: { code: "turn_interrupted" } });
  expect(await filesWith(directory.path, marker)).toEqual([]);
  const store = await openStore(node.node.config.store.url);
  expect(await store.sessions.ephemerals()).toEqual([]);
  await store.close();
});
