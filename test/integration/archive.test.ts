import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import type { CopilotSession, SessionConfig } from "@github/copilot-sdk";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ScriptedModel, startScriptedModel } from "../../demo/scripted-model.ts";
import { systemClock } from "../../src/kernel/clock.ts";
import { importSessions } from "../../src/sessions/import-all.ts";
import { exportSession, importSession } from "../../src/sessions/session-archive.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/store.ts";
import { texts } from "../contract/rows.ts";
import { startBareRuntime } from "../support/bare-runtime.ts";
import { type TempDir, tempDir } from "../support/temp.ts";
import { modelKey, startTestNode, type TestNode } from "../support/test-node.ts";
import { runCli } from "./cli-process.ts";

const alice = { tenant: "acme", user: "alice" } as const;
const onPermissionRequest = async () => ({ kind: "approve-once" }) as const;

let model: ScriptedModel;
let directory: TempDir;
beforeEach(async () => {
  model = await startScriptedModel({ apiKey: modelKey });
  directory = await tempDir("archive");
});
afterEach(async () => {
  await model.close();
  await directory.remove();
});

const bareConfig = (): SessionConfig => ({
  model: "scripted-1",
  provider: { type: "openai", baseUrl: model.url, apiKey: modelKey },
  onPermissionRequest,
});

const said = async (session: CopilotSession): Promise<readonly string[]> =>
  (await session.getEvents())
    .filter(({ type }) => type === "user.message")
    .map(({ data }) => (data as { content: string }).content);

/** Every id of a session that its history names. */
const idsIn = async (session: CopilotSession): Promise<readonly unknown[]> =>
  (await session.getEvents())
    .map(({ data }) => (data as { sessionId?: unknown }).sessionId)
    .filter((id) => id !== undefined);

const config = (at: string): string => {
  const file = join(at, "squadron.yaml");
  writeFileSync(
    file,
    `state: { path: ./state }\nstore: { url: "sqlite:./squadron.db" }\nhttp: { port: 0 }\nsdk: { port: 0 }\n`,
  );
  return file;
};
const cli = (...args: string[]) => runCli(["sessions", ...args], { cwd: directory.path });

/** A node on this test's directory, which another one may use after it. */
const startHere = (): Promise<TestNode> => startTestNode({ directory: directory.path, model });

/** A session of a bare runtime with two turns and a file of its tools; where its directory is a copy of. */
const makeBareSession = async (id: string): Promise<string> => {
  await using runtime = await startBareRuntime();
  const client = runtime.bareClient();
  const session = await client.createSession({ ...bareConfig(), sessionId: id });
  await session.sendAndWait(`[[echo my id is ${id}]]`);
  const query = "insert into todos (id, title, status) values ('t1', 'carry me over', 'pending')";
  await session.sendAndWait(`[[call sql ${JSON.stringify({ description: "notes", query })}]]`);
  await client.stop();
  const copy = join(directory.path, "bare", id);
  mkdirSync(join(directory.path, "bare"), { recursive: true });
  cpSync(join(runtime.home, "session-state", id), copy, { recursive: true });
  return copy;
};

describe("a session of a bare runtime", () => {
  it("is imported with its whole history, which our client goes on with, and exported again for a bare one", async () => {
    const source = await makeBareSession("notebook");
    config(directory.path);
    const imported = await cli("import", source, "--tenant", "acme", "--user", "alice", "--json");
    expect(JSON.parse(imported.stdout).imported[0], imported.stderr).toMatchObject({
      name: "notebook",
      title: "[[echo my id is notebook]]",
    });

    const node = await startHere();
    const session = await node.client("alice").resumeSession("notebook", { onPermissionRequest });
    expect((await session.sendAndWait("[[count]]"))?.data.content).toBe("3");
    expect(await said(session)).toHaveLength(3);
    // What was said is left alone; where events name the session they name ours.
    expect((await said(session))[0]).toBe("[[echo my id is notebook]]");
    expect(new Set(await idsIn(session))).toEqual(new Set(["notebook"]));
    await expect(node.client("bob").resumeSession("notebook", { onPermissionRequest })).rejects.toThrow(
      "not found",
    );
    await node.stop();

    await using bare = await startBareRuntime();
    const to = join(bare.home, "session-state");
    const exported = await cli(
      "export",
      "notebook",
      "--tenant",
      "acme",
      "--user",
      "alice",
      "--to",
      to,
      "--as",
      "back",
    );
    expect(exported.stdout, exported.stderr).toContain("resumes it as back");
    const client = bare.bareClient();
    const again = await client.resumeSession("back", bareConfig());
    expect((await again.sendAndWait("[[count]]"))?.data.content).toBe("4");
    expect(await said(again)).toEqual([...(await said(again)).slice(0, 3), "[[count]]"]);
    const query = { description: "reads", query: "select title from todos" };
    const answer = await again.sendAndWait(`[[call sql ${JSON.stringify(query)}]]`);
    expect(answer?.data.content).toContain("carry me over");
    await client.stop();
  });
});

describe("a session of ours", () => {
  it("is exported as it was last stored, even while the node runs: events name it by its new id, and no secret goes along", async () => {
    await using node = await startHere();
    const session = await node.client("alice").createSession({ sessionId: "mine", onPermissionRequest });
    await session.sendAndWait("[[echo one]]");
    await using bare = await startBareRuntime();
    config(directory.path);
    const to = join(bare.home, "session-state");
    const exported = await cli("export", "mine", "-t", "acme", "--user", "alice", "--to", to, "--json");
    expect(JSON.parse(exported.stdout), exported.stderr).toMatchObject({ id: "mine" });
    for (const name of readdirSync(join(to, "mine"), { recursive: true, encoding: "utf8" })) {
      const file = join(to, "mine", name);
      if (statSync(file).isFile()) expect(readFileSync(file, "utf8"), name).not.toContain(modelKey);
    }
    const client = bare.bareClient();
    const again = await client.resumeSession("mine", bareConfig());
    expect((await again.sendAndWait("[[count]]"))?.data.content).toBe("2");
    expect(await said(again)).toEqual(["[[echo one]]", "[[count]]"]);
    expect(new Set(await idsIn(again))).toEqual(new Set(["mine"]));
    await client.stop();
    // The node's own goes on as if nothing had been.
    expect((await session.sendAndWait("[[count]]"))?.data.content).toBe("2");

    const twice = await cli("export", "mine", "-t", "acme", "--user", "alice", "--to", to);
    expect(twice).toMatchObject({ code: 1 });
    expect(twice.stderr).toContain("is there already");
    const running = await cli("import", join(to, "mine"), "-t", "acme", "--user", "alice");
    expect(running).toMatchObject({ code: 1 });
    expect(running.stderr).toContain("Another node runs");
  });
});

describe("a session whose model was changed", () => {
  it("is imported with the model that a bare runtime would go on with", async () => {
    await using runtime = await startBareRuntime();
    const client = runtime.bareClient();
    const session = await client.createSession({ ...bareConfig(), sessionId: "switched" });
    await session.sendAndWait("[[echo one]]");
    await session.setModel("scripted-2");
    await session.sendAndWait("[[echo two]]");
    await client.stop();
    const store = await openStore(`sqlite:${join(directory.path, "squadron.db")}`);
    const source = join(runtime.home, "session-state", "switched");
    const given = {
      store,
      clock: systemClock,
      directory: source,
      owner: alice,
      bounds: { maxBytes: 1e7, maxFiles: 1_000 },
    };
    await importSession({ ...given, isolation: "shared" }).finally(() => store.close());

    await using node = await startHere();
    const ours = await node.client("alice").resumeSession("switched", { onPermissionRequest });
    const before = model.requests.length;
    expect((await ours.sendAndWait("[[count]]"))?.data.content).toBe("3");
    expect(model.requests.slice(before).map(({ body }) => body)).toMatchObject([{ model: "scripted-2" }]);
  });
});

describe("importing", () => {
  let store: Store;
  beforeEach(async () => {
    store = await openStore(`sqlite:${join(directory.path, "import.db")}`);
  });
  afterEach(() => store.close());

  const start = { type: "session.start", data: { sessionId: "old", startTime: "2026-01-02T03:04:05.000Z" } };
  const lines = (...events: readonly unknown[]): string =>
    events.map((event) => `${JSON.stringify(event)}\n`).join("");
  const makeSource = (files: Readonly<Record<string, string>>): string => {
    const source = join(directory.path, "source");
    mkdirSync(source, { recursive: true });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(source, name), text);
    return source;
  };
  const take = (
    source: string,
    { maxBytes = 1e6, ...options }: { readonly maxBytes?: number; readonly name?: string } = {},
  ) =>
    importSession({
      store,
      clock: systemClock,
      directory: source,
      owner: alice,
      isolation: "user",
      bounds: { maxBytes, maxFiles: 1_000 },
      ...options,
    });
  const filesOf = async (id: string) =>
    new Map(Object.entries(texts(await store.state.files({ kind: "session", id }))));

  it("replaces the id where events have it and nowhere else, and leaves every other byte", async () => {
    const spoken = {
      type: "user.message",
      data: { content: 'the "sessionId":"old" of old', sessionId: "old" },
    };
    const tool = {
      type: "external_tool.requested",
      data: { sessionId: "old", arguments: { sessionId: "old" } },
    };
    const odd = '{"type":"session.shutdown","data":{"cost":0.0,"of":"old"}}\nnot json of old\n';
    const source = makeSource({
      "events.jsonl": `${lines(start, spoken, tool)}${odd}torn old`,
      "workspace.yaml": "id: old\nname: 'old id: old'\n",
      "inuse.7.lock": "7",
      "plan.md": "old",
    });
    const { session, sizeBytes } = await take(source);
    const { id } = session;
    const named = { ...start, data: { ...start.data, sessionId: id } };
    const asked = { ...tool, data: { ...tool.data, sessionId: id } };
    const files = await filesOf(id);
    expect(files).toEqual(
      new Map([
        ["events.jsonl", `${lines(named, spoken, asked)}${odd}`],
        ["plan.md", "old"],
        ["workspace.yaml", `id: '${id}'\nname: 'old id: old'\n`],
      ]),
    );
    expect(sizeBytes).toBe([...files.values()].reduce((sum, text) => sum + text.length, 0));
    expect(session).toMatchObject({ title: "old id: old", createdAt: Date.parse(start.data.startTime) });
  });

  it("keeps nothing when there is no session, it is too large, or the name is taken", async () => {
    await expect(take(join(directory.path, "absent"))).rejects.toMatchObject({ code: "invalid_request" });
    await expect(take(makeSource({ "events.jsonl": "{}\n" }))).rejects.toMatchObject({
      code: "invalid_request",
    });
    const source = makeSource({ "events.jsonl": lines(start) });
    // It grows by the longer id alone.
    const size = lines(start).length;
    await expect(take(source, { maxBytes: size })).rejects.toMatchObject({ code: "too_large" });
    expect(await store.sessions.countOf("acme")).toBe(0);
    await take(source);
    await expect(take(source)).rejects.toMatchObject({ code: "name_taken" });
    await take(source, { name: "another" });
    expect(await store.sessions.countOf("acme")).toBe(2);
  });

  it("leaves bytes that are no text as they are", async () => {
    const source = makeSource({ "events.jsonl": lines(start) });
    const odd = Buffer.from([...Buffer.from('{"type":"old '), 0xff, 0xfe, ...Buffer.from('"}\n')]);
    appendFileSync(join(source, "events.jsonl"), odd);
    const { session } = await take(source);
    const log = await store.state.file({ kind: "session", id: session.id }, "events.jsonl");
    expect(Buffer.from(log?.bytes ?? []).subarray(-odd.length)).toEqual(odd);
  });

  it("takes the model of the log's last word, not a subagent's, and no directory of the other machine", async () => {
    const begun = { ...start, data: { ...start.data, selectedModel: "one", context: { cwd: "/etc" } } };
    const changed = (newModel: string) => ({ type: "session.model_change", data: { newModel } });
    const resumed = { type: "session.resume", data: { selectedModel: "three", context: { cwd: "/root" } } };
    const agents = { ...changed("four"), agentId: "agent" };
    for (const [events, last] of [
      [[begun], "one"],
      [[begun, changed("two")], "two"],
      [[begun, changed("two"), resumed, agents], "three"],
    ] as const) {
      const { session } = await take(makeSource({ "events.jsonl": lines(...events) }), { name: last });
      expect(JSON.parse(session.record)).toMatchObject({
        parameters: { model: last },
        options: {},
        facts: {},
      });
      expect(session.record).not.toContain("/");
    }
  });

  it("takes a whole session-state one by one, tells what it skips, and follows no link", async () => {
    const state = join(directory.path, "session-state");
    const put = (name: string, id: string): void => {
      mkdirSync(join(state, name), { recursive: true });
      const event = { ...start, data: { ...start.data, sessionId: id } };
      writeFileSync(join(state, name, "events.jsonl"), lines(event));
    };
    for (const [name, id] of [
      ["a", "a"],
      ["b", "taken"],
      ["d", "d"],
    ] as const)
      put(name, id);
    mkdirSync(join(state, "c-empty"));
    symlinkSync(makeSource({ "events.jsonl": lines(start) }), join(state, "linked"));
    writeFileSync(join(state, "file"), "");
    await take(makeSource({ "events.jsonl": lines(start) }), { name: "taken" });
    const all = {
      store,
      clock: systemClock,
      owner: alice,
      isolation: "user",
      bounds: { maxBytes: 1e6, maxFiles: 1_000 },
    } as const;
    const outcomes = async (source: string) => {
      const seen: unknown[] = [];
      for await (const one of importSessions({ ...all, directory: source }))
        seen.push([basename(one.directory), one.kind === "imported" ? one.imported.name : one.error.code]);
      return seen;
    };
    expect(await outcomes(state)).toEqual([
      ["a", "a"],
      ["b", "name_taken"],
      ["c-empty", "invalid_request"],
      ["d", "d"],
    ]);
    expect(await store.sessions.countOf("acme")).toBe(3);
    put("e", "e");
    expect(await outcomes(join(state, "e"))).toEqual([["e", "e"]]);
    await expect(outcomes(join(directory.path, "absent"))).rejects.toMatchObject({ code: "invalid_request" });
    await expect(outcomes(join(state, "c-empty"))).rejects.toMatchObject({
      code: "invalid_request",
      message: expect.stringContaining("holds no session"),
    });
  });

  it("takes links as their text and empty directories, and an export leaves the links out", async () => {
    const source = makeSource({ "events.jsonl": lines(start) });
    mkdirSync(join(source, "files", "empty"), { recursive: true });
    symlinkSync("/etc/passwd", join(source, "files", "out"));
    const { session, files } = await take(source);
    expect(files).toBe(1);
    expect(Object.fromEntries(await filesOf(session.id))).toMatchObject({
      files: "(directory)",
      "files/empty": "(directory)",
      "files/out": "-> /etc/passwd",
    });
    const to = join(directory.path, "exported");
    await exportSession({ store, owner: alice, session: session.publicId, to, id: "it" });
    expect(readdirSync(join(to, "it"), { recursive: true, encoding: "utf8" }).sort()).toEqual([
      "events.jsonl",
      "files",
      "files/empty",
    ]);
  });

  it("is not led out of the directory, nor an export out of its own", async () => {
    const { session } = await take(makeSource({ "events.jsonl": lines(start) }), { name: "../../evil" });
    const to = join(directory.path, "out", "session-state");
    const given = { store, owner: alice, session: "../../evil", to };
    for (const id of ["../up", "", ".", "a/b", "x".repeat(201)])
      await expect(exportSession({ ...given, id }), id).rejects.toMatchObject({ code: "invalid_request" });
    const exported = await exportSession(given);
    expect(readdirSync(to)).toEqual([exported.id]);
    expect(exported.id).toMatch(/^[0-9a-f-]{36}$/);
    expect(readdirSync(join(directory.path, "out"))).toEqual(["session-state"]);
    const byId = await exportSession({ ...given, session: session.publicId, id: "by-id" });
    expect(existsSync(join(byId.directory, "events.jsonl"))).toBe(true);
    const stranger = { ...given, owner: { tenant: "acme", user: "bob" }, session: session.publicId };
    await expect(exportSession(stranger)).rejects.toMatchObject({ code: "session_not_found" });
  });
});
