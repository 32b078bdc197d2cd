import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type ScriptedModel, startScriptedModel } from "../../demo/scripted-model.ts";
import { isObject, type JsonObject } from "../../src/kernel/json.ts";
import {
  callsOnWake,
  emptyRecord,
  parseRecord,
  recordAfterCall,
  recordAfterEvent,
  recordAfterModel,
  recordAfterOptions,
  recordIn,
  type SessionRecord,
} from "../../src/sessions/record.ts";
import { createPathApprovals } from "../../src/sessions/record-approvals.ts";
import { type SessionEvent, startPipedRuntime } from "../support/piped-runtime.ts";
import { type TempDir, tempDir } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

const sessionId = "session";

/** A server for MCP of one tool. */
const mcpServer = `
  require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
    const { id, method, params } = JSON.parse(line);
    if (id === undefined) return;
    const result =
      method === "initialize"
        ? { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: "s", version: "1" } }
        : method === "tools/list"
          ? { tools: [{ name: "look", description: "d", inputSchema: { type: "object", properties: {} } }] }
          : { content: [{ type: "text", text: "seen" }] };
    process.stdout.write(JSON.stringify({ jsonrpc: "2.0", id, result }) + "\\n");
  });`;

const startRuntime = async () => {
  const events: SessionEvent[] = [];
  const heard = { event: (_event: SessionEvent): void => {} };
  const piped = await startPipedRuntime({
    heard: (event) => {
      events.push(event);
      heard.event(event);
    },
  });
  const call = (method: string, params: JsonObject = {}): Promise<unknown> =>
    piped.request(method, { ...params, sessionId });
  return { ...piped, events, heard, call };
};
type Runtime = Awaited<ReturnType<typeof startRuntime>>;

/** Sends a message, allows once whatever is asked, and counts the questions. */
const turn = async (runtime: Runtime, prompt: string, answer: JsonObject = { kind: "approve-once" }) => {
  const from = runtime.events.length;
  const answered = new Set<unknown>();
  await runtime.call("session.send", { prompt });
  await eventually(
    async () => {
      const since = runtime.events.slice(from);
      for (const { type, data } of since) {
        const { requestId } = data;
        if (typeof requestId !== "string" || answered.has(requestId)) continue;
        const about = { requestId };
        if (type === "permission.requested") {
          answered.add(requestId);
          await runtime.call("session.permissions.handlePendingPermissionRequest", {
            ...about,
            result: answer,
          });
        } else if (type === "external_tool.requested") {
          answered.add(requestId);
          const result = { textResultForLlm: "done", resultType: "success" };
          await runtime.call("session.tools.handlePendingToolCall", { ...about, result });
        }
      }
      return since.some(({ type }) => type === "session.idle");
    },
    { what: `the turn "${prompt}" ends`, deadlineMs: 30_000 },
  );
  return runtime.events.slice(from).filter(({ type }) => type === "permission.requested").length;
};

let model: ScriptedModel;
let scratch: TempDir;
beforeAll(async () => {
  scratch = await tempDir("record-skills");
  await mkdir(join(scratch.path, "one"));
  await writeFile(join(scratch.path, "one", "SKILL.md"), "---\nname: one\ndescription: d\n---\nDo it.\n");
  model = await startScriptedModel();
});
afterAll(async () => {
  await model.close();
  await scratch.remove();
});

const asOf = (runtime: Runtime) => ({ home: runtime.home, work: runtime.home });
const connection = {
  streaming: true,
  requestPermission: true,
  tools: [{ name: "foo", description: "d", parameters: { type: "object", properties: {} } }],
};
const parameters = (): JsonObject => ({
  model: "m1",
  provider: { type: "openai", baseUrl: model.url, apiKey: "none" },
  envValueMode: "direct",
  enableSkills: true,
  skillDirectories: [scratch.path],
  customAgents: [{ name: "helper", description: "d", prompt: "p" }],
  mcpServers: { one: { type: "local", command: process.execPath, args: ["-e", mcpServer], tools: ["*"] } },
});
const logOf = async (home: string): Promise<string[]> =>
  (await readFile(join(home, "session-state", sessionId, "events.jsonl"), "utf8")).trimEnd().split("\n");

/** A session as the gateway holds it: what a client calls and what the runtime tells goes into the record. */
const startSession = async (runtime: Runtime, more: JsonObject) => {
  let record: SessionRecord = recordIn(
    { ...emptyRecord, parameters: { ...parameters(), ...more } },
    asOf(runtime),
  );
  const approvals = createPathApprovals();
  runtime.heard.event = ({ type, data, agentId }) => {
    record = approvals(recordAfterEvent(record, type, data, agentId), type, data);
  };
  await runtime.call("session.create", { ...connection, ...record.parameters });
  return {
    get record() {
      return record;
    },
    change: async (method: string, params: JsonObject = {}) => {
      const result = await runtime.call(method, params);
      record =
        method === "session.options.update"
          ? recordAfterOptions(record, params)
          : recordAfterCall(record, method, params, result);
      if (method === "session.history.truncate")
        record = recordAfterModel(record, await runtime.call("session.model.getCurrent"));
    },
  };
};
type Session = Awaited<ReturnType<typeof startSession>>;

/** Kills the runtime and brings the session's files and its stored record into another one. */
const wakeElsewhere = async (old: Runtime, stored: string): Promise<Runtime> => {
  await old.call("sessions.save");
  await old.kill();
  const runtime = await startRuntime();
  await cp(join(old.home, "session-state", sessionId), join(runtime.home, "session-state", sessionId), {
    recursive: true,
  });
  const record = recordIn(parseRecord(stored), asOf(runtime));
  if (record.unwritten === undefined)
    await runtime.call("session.resume", { ...connection, ...record.parameters, disableResume: true });
  else await runtime.call("session.create", { ...connection, ...record.parameters });
  await runtime.call("session.options.update", record.options);
  for (const { method, params } of callsOnWake(record)) await runtime.call(method, params);
  await runtime.call("session.mode.get");
  return runtime;
};

type Read = (runtime: Runtime) => Promise<unknown>;
const ask =
  (method: string, ...fields: readonly string[]): Read =>
  async (runtime) => {
    const result = await runtime.call(method);
    if (fields.length === 0 || !isObject(result)) return result;
    return fields.map((field) => result[field]);
  };
const modelNow: Read = ask("session.model.getCurrent");
const paths: Read = async (runtime) => {
  const { directories, primary } = (await runtime.call("session.permissions.paths.list")) as {
    directories: string[];
    primary: string;
  };
  return [...directories, primary].map((path) => path.replace(runtime.home, "HOME"));
};
const servers: Read = async (runtime) => {
  const { servers } = (await runtime.call("session.mcp.list")) as {
    servers: { name: string; status: string }[];
  };
  return servers.map(({ name, status }) => `${name} ${status}`);
};
const stoppedAndStarted: Read = async (runtime) => {
  const stopped = await servers(runtime);
  await runtime.call("session.mcp.startServer", { serverName: "one" });
  return [stopped, await servers(runtime)];
};
const skills: Read = async (runtime) => {
  const { skills } = (await runtime.call("session.skills.list")) as {
    skills: { name: string; enabled: boolean }[];
  };
  return skills.find(({ name }) => name === "one")?.enabled;
};
const agent: Read = async (runtime) => {
  const result = (await runtime.call("session.agent.getCurrent")) as { agent?: { name: string } };
  return result.agent?.name ?? null;
};
const asks =
  (prompt: string): Read =>
  (runtime) =>
    turn(runtime, prompt);
const bash = '[[call bash {"command":"mkdir -p there","description":"d"}]]';

interface Case {
  readonly what: string;
  readonly params?: JsonObject;
  readonly change: (session: Session, runtime: Runtime) => Promise<unknown>;
  readonly read: Read;
}
const one = (what: string, read: Read, method: string, given: JsonObject, params: JsonObject = {}): Case => ({
  what,
  params,
  read,
  change: (session) => session.change(method, given),
});

const cases: readonly Case[] = [
  one("a model switched with its effort and tier", modelNow, "session.model.switchTo", {
    modelId: "m2",
    reasoningEffort: "low",
    contextTier: "long_context",
  }),
  one(
    "an effort, against the one of create",
    modelNow,
    "session.model.setReasoningEffort",
    { reasoningEffort: "low" },
    { reasoningEffort: "high" },
  ),
  {
    what: "the model of a history that was cut",
    change: async (session, runtime) => {
      await session.change("session.model.switchTo", { modelId: "m2" });
      await turn(runtime, "two");
      await runtime.call("sessions.save");
      const cut = (await logOf(runtime.home)).map((line) => JSON.parse(line) as { type: string; id: string });
      const before = cut.find(({ type }) => type === "session.model_change");
      await session.change("session.history.truncate", { eventId: before?.id ?? "" });
    },
    read: modelNow,
  },
  one("the mode", ask("session.mode.get"), "session.mode.set", { mode: "plan" }),
  one("the name", ask("session.name.get"), "session.name.set", { name: "mine" }),
  one("the plan", ask("session.plan.read", "content"), "session.plan.update", { content: "first this" }),
  one("labels", ask("session.metadata.getClientMetadata"), "session.metadata.updateClientMetadata", {
    set: { a: "b" },
  }),
  one("limits", ask("session.metadata.snapshot", "sessionLimits"), "session.options.update", {
    sessionLimits: { maxAiCredits: 50 },
  }),
  one("another agent", agent, "session.agent.select", { name: "helper" }),
  one("no agent, against the one of create", agent, "session.agent.deselect", {}, { agent: "helper" }),
  one("a path added", paths, "session.permissions.paths.add", { path: "/usr/share" }),
  one("the primary path", paths, "session.permissions.paths.updatePrimary", { path: "/usr/share" }),
  one(
    "the working directory, against the one of create",
    ask("session.metadata.snapshot", "workingDirectory"),
    "session.metadata.setWorkingDirectory",
    { workingDirectory: "/usr/share" },
    { workingDirectory: "/usr" },
  ),
  one("an MCP server stopped", stoppedAndStarted, "session.mcp.stopServer", { serverName: "one" }),
  one("an MCP server disabled", servers, "session.mcp.disable", { serverName: "one" }),
  one(
    "an MCP server enabled, against create",
    servers,
    "session.mcp.enable",
    { serverName: "one" },
    { disabledMcpServers: ["one"] },
  ),
  one("a skill disabled", skills, "session.skills.disable", { name: "one" }),
  one("the context of apps", ask("session.mcp.apps.getHostContext"), "session.mcp.apps.setHostContext", {
    context: { theme: "dark" },
  }),
  one("allow-all", ask("session.permissions.getMode"), "session.permissions.setMode", { mode: "allow-all" }),
  one("that all is approved", asks(bash), "session.permissions.setApproveAll", { enabled: true }),
  one("that all is approved, configured", asks(bash), "session.permissions.configure", {
    approveAllToolPermissionRequests: true,
  }),
  {
    what: "that approving all was taken back",
    change: async (session) => {
      await session.change("session.permissions.setApproveAll", { enabled: true });
      await session.change("session.permissions.setMode", { mode: "manual" });
    },
    read: asks(bash),
  },
  ...(
    [
      ["a tool of the client", "[[call foo {}]]", { kind: "custom-tool", toolName: "foo" }],
      ["a shell command", bash, { kind: "commands", commandIdentifiers: ["mkdir -p there"] }],
      [
        "a tool of an MCP server",
        "[[call one-look {}]]",
        { kind: "mcp", serverName: "one", toolName: "look" },
      ],
      ["reading in a path", '[[call view {"path":"/usr/bin"}]]', { kind: "read" }],
    ] as const
  ).map(
    ([what, prompt, approval]): Case => ({
      what: `${what} approved for the session`,
      change: (_session, runtime) => turn(runtime, prompt, { kind: "approve-for-session", approval }),
      read: asks(prompt),
    }),
  ),
  {
    what: "that approvals were reset",
    change: async (session, runtime) => {
      const approval = { kind: "custom-tool", toolName: "foo" };
      await turn(runtime, "[[call foo {}]]", { kind: "approve-for-session", approval });
      await session.change("session.permissions.resetSessionApprovals");
    },
    read: asks("[[call foo {}]]"),
  },
];

it.each(cases)("a wake in another runtime keeps $what, and the history does not show it", async (tried) => {
  await using first = await startRuntime();
  const session = await startSession(first, tried.params ?? {});
  await turn(first, "hello");
  await tried.change(session, first);
  await first.call("sessions.save");
  const before = await logOf(first.home);
  const stored = JSON.stringify(session.record);
  const expected = await tried.read(first);
  const after = await logOf(first.home);
  await using second = await wakeElsewhere(first, stored);
  await second.call("sessions.save");
  const woken = await logOf(second.home);
  expect(woken.slice(before.length).length, "lines of history since the change").toBe(
    after.length - before.length,
  );
  expect(await tried.read(second)).toEqual(expected);
});

it("events of a wake have come when a call after it is answered", async () => {
  await using first = await startRuntime();
  const session = await startSession(first, { agent: "helper" });
  await turn(first, "hello");
  await session.change("session.permissions.paths.add", { path: "/usr/share" });
  await session.change("session.mcp.stopServer", { serverName: "one" });
  await using second = await wakeElsewhere(first, JSON.stringify(session.record));
  const told = second.events.map(({ type }) => type);
  expect(told).toContain("session.mcp_server_status_changed");
  await turn(second, "hello");
  const next = second.events.slice(told.length).map(({ type }) => type)[0];
  expect(next).toBe("pending_messages.modified");
});

it("a wake keeps what was changed before anything was said, where there is no history to resume", async () => {
  await using first = await startRuntime();
  const session = await startSession(first, { agent: "helper" });
  await session.change("session.mode.set", { mode: "plan" });
  await session.change("session.name.set", { name: "mine" });
  await session.change("session.permissions.setMode", { mode: "allow-all" });
  await session.change("session.agent.deselect");
  await session.change("session.model.setReasoningEffort", { reasoningEffort: "low" });
  await session.change("session.metadata.setWorkingDirectory", { workingDirectory: "/usr/share" });
  const reads = [
    ask("session.mode.get"),
    ask("session.name.get"),
    ask("session.permissions.getMode"),
    agent,
    modelNow,
    ask("session.metadata.snapshot", "workingDirectory"),
  ];
  const expected = await Promise.all(reads.map((read) => read(first)));
  await using second = await wakeElsewhere(first, JSON.stringify(session.record));
  expect(await Promise.all(reads.map((read) => read(second)))).toEqual(expected);
});
