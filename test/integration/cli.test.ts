import { readdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ScriptedModel, startScriptedModel } from "../../demo/scripted-model.ts";
import { type TempDir, tempDir } from "../support/temp.ts";
import { eventually, within } from "../support/wait.ts";
import { deadPort } from "../unit/models/servers.ts";
import { type CliProcess, isAlive, lockStore, runCli, startCli } from "./cli-process.ts";

const modelKey = "sk-model-key-of-the-command-line-test";
/** Nothing can listen there for us: commands that look for a node find none. */
const noNode = { SQUADRON_HTTP_PORT: "1" };
const anyPorts = { SQUADRON_SDK_PORT: "0", SQUADRON_HTTP_PORT: "0" };

let directory: TempDir;
beforeEach(async () => {
  directory = await tempDir("cli");
});
afterEach(() => directory.remove());

const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  runCli(args, { cwd: directory.path, env });
const start = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  startCli(args, { cwd: directory.path, env });
/** The JSON of a command's output; what else it said is in the error if there is none. */
const json = ({ stdout, stderr }: Pick<CliProcess, "stdout" | "stderr">): never => {
  try {
    return JSON.parse(stdout) as never;
  } catch (error) {
    throw new Error(`No JSON: ${stdout}${stderr}`, { cause: error });
  }
};

/** `squadron up` with a scripted model behind it, and what it printed. */
const startUp = async (model: ScriptedModel) => {
  await writeFile(
    join(directory.path, "squadron.yaml"),
    `sdk: { port: 0 }
http: { port: 0 }
defaults:
  model: scripted-1
  provider: { type: openai, baseUrl: "${model.url}", apiKey: "\${env:MODEL_KEY}" }
`,
  );
  const up = start(["up", "--json"], { MODEL_KEY: modelKey });
  await up.printed(/^}$/m);
  return { up, ...(json(up) as { sdk: string; http: string; firstAdminKey?: string }) };
};

describe("squadron up", () => {
  it("runs without any configuration, prints its first admin key once, and ends at SIGTERM", async () => {
    await using first = start(["up"], anyPorts);
    const [, key = ""] = await first.printed(/first admin key, shown this once: (\S+)/);
    const [, url = ""] = await first.printed(/HTTP API +(\S+)/);
    const status = await run(["status"], { SQUADRON_URL: url, SQUADRON_KEY: key });
    expect(status.stdout).toContain("admin of default (user, tenant-admin, admin)");
    expect(status.code).toBe(0);
    first.kill("SIGTERM");
    expect(await within(first.ended, { what: "the end of up" })).toMatchObject({ code: 0, signal: null });

    await using second = start(["up"], anyPorts);
    await second.printed(/Configuration/);
    second.kill("SIGINT");
    const { code, stdout } = await within(second.ended, { what: "the end of up" });
    expect(code).toBe(0);
    expect(stdout).not.toContain("admin key");
  });

  it("ends its runtimes with it, and shows them before", async () => {
    await using model = Object.assign(await startScriptedModel({ apiKey: modelKey }), {
      [Symbol.asyncDispose]: () => model.close(),
    });
    const { up, http, firstAdminKey = "" } = await startUp(model);
    await using _ = up;
    const env = { SQUADRON_URL: http, SQUADRON_KEY: firstAdminKey };
    const session = await fetch(`${http}/v1/sessions`, {
      method: "POST",
      headers: { authorization: `Bearer ${firstAdminKey}`, "content-type": "application/json" },
      body: JSON.stringify({ name: "first" }),
    });
    const { id } = (await session.json()) as { id: string };
    const answer = await fetch(`${http}/v1/sessions/${id}/messages`, {
      method: "POST",
      headers: { authorization: `Bearer ${firstAdminKey}`, "content-type": "application/json" },
      body: JSON.stringify({ prompt: "[[echo hello]]" }),
    });
    expect(await answer.json()).toMatchObject({ content: "hello" });

    const [runtime] = json(await run(["runtimes", "--json"], env)) as { pid: number; isolation: string }[];
    expect(runtime).toMatchObject({ isolation: "user" });
    const pid = runtime?.pid ?? 0;
    expect(isAlive(pid)).toBe(true);
    expect((await run(["runtimes"], env)).stdout).toMatch(/RUNTIME +ISOLATION[\s\S]*user +ready/);
    expect(json(await run(["sessions", "--json"], env))).toMatchObject([{ id, owner: "admin" }]);

    up.kill("SIGTERM");
    expect(await within(up.ended, { what: "the end of up" })).toMatchObject({ code: 0, signal: null });
    expect(isAlive(pid)).toBe(false);
  });

  it("ends at once at a second signal, and so do its runtimes", async () => {
    await using model = Object.assign(await startScriptedModel({ apiKey: modelKey }), {
      [Symbol.asyncDispose]: () => model.close(),
    });
    const { up, http, firstAdminKey = "" } = await startUp(model);
    await using _ = up;
    const turn = fetch(`${http}/v1/prompts`, {
      method: "POST",
      headers: { authorization: `Bearer ${firstAdminKey}`, "content-type": "application/json" },
      body: JSON.stringify({ prompt: "[[hold for-ever]] [[tokens 5]]" }),
    }).catch(() => undefined);
    await eventually(() => model.holding("for-ever") > 0, { what: "a running turn" });
    const runtimes = await run(["runtimes", "--json"], { SQUADRON_URL: http, SQUADRON_KEY: firstAdminKey });
    const [{ pid } = { pid: 0 }] = json(runtimes) as { pid: number }[];
    const lock = lockStore(join(directory.path, ".squadron", "squadron.db"));
    const again = setInterval(() => up.kill("SIGINT"), 100);
    try {
      expect(await within(up.ended, { what: "the end of up" })).toMatchObject({ code: 130 });
    } finally {
      clearInterval(again);
      lock.close();
    }
    await turn;
    await eventually(() => !isAlive(pid), { what: "the end of the runtime" });
  });

  it("says which port is taken, and by which key to choose another", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await eventually(() => other.listening, { what: "the other program" });
    const address = other.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const { code, stderr } = await run(["up"], { ...anyPorts, SQUADRON_HTTP_PORT: String(port) });
    other.close();
    expect(stderr).toContain(`127.0.0.1:${port} is taken by another program`);
    expect(stderr).toContain("SQUADRON_HTTP_PORT");
    expect(code).toBe(1);
  });
});

describe("squadron key", () => {
  it("makes, lists and revokes keys on a node", async () => {
    await using up = start(["up", "--json"], anyPorts);
    await up.printed(/^}$/m);
    const { http, firstAdminKey } = json(up) as { http: string; firstAdminKey: string };
    const env = { SQUADRON_URL: http, SQUADRON_KEY: firstAdminKey };
    const create = [
      "key",
      "create",
      "--tenant",
      "acme",
      "--user",
      "alice",
      "--role",
      "user",
      "tenant-admin",
      "--label",
      "laptop",
    ];

    const made = await run(create, env);
    const [, id = "", key = ""] = /^Key (key_\w+) .*\n(sqd_\S+)$/m.exec(made.stdout) ?? [];
    expect(made.code).toBe(0);
    const asAlice = { ...env, SQUADRON_KEY: key };
    expect((await run(["status"], asAlice)).stdout).toContain("alice of acme (user, tenant-admin)");
    expect((await run(["key", "list"], env)).stdout).toMatch(new RegExp(`${id} +acme +alice .*laptop`));
    expect(json(await run(["key", "list", "--json"], asAlice))).toMatchObject([{ id, label: "laptop" }]);
    const forbidden = await run(["runtimes"], asAlice);
    expect(forbidden.stderr).toContain("role admin");
    expect(forbidden.code).toBe(4);

    expect((await run(["key", "revoke", id], env)).code).toBe(0);
    const refused = await run(["status"], asAlice);
    expect(refused.stderr).toContain("The node refused: A valid key is needed.");
    expect(refused.code).toBe(4);
    expect((await run(["key", "list"], env)).stdout).toMatch(new RegExp(`${id} .*revoked`));
    expect((await run(["key", "revoke", id], env)).code).toBe(1);
    for (const { stdout, stderr } of [up]) expect(stdout + stderr).not.toContain(key);
  });

  it("works on the store when no node runs, and what it made there is good for the node", async () => {
    const made = await run(
      ["key", "create", "-t", "acme", "--user", "alice", "-r", "admin", "--json"],
      noNode,
    );
    expect(made.stderr).toContain("no node answers, using the store itself");
    const { id, key } = json(made) as { id: string; key: string };
    expect(json(await run(["key", "list", "--json"], noNode))).toMatchObject([{ id, revokedAt: null }]);

    await using up = start(["up", "--json"], anyPorts);
    await up.printed(/^}$/m);
    const { http, firstAdminKey } = json(up) as { http: string; firstAdminKey?: string };
    expect(firstAdminKey).toBeUndefined();
    const status = await run(["status", "--json", "--url", http, "--key", key]);
    expect(json(status)).toMatchObject({ ready: true, me: { tenant: "acme", user: "alice" }, runtimes: {} });
    expect((await run(["key", "revoke", id], noNode)).code).toBe(0);
    expect((await run(["status", "--url", http, "--key", key])).code).toBe(4);
  });

  it("never falls back to the store when a URL was given", async () => {
    const { code, stderr } = await run(["key", "list", "--url", "http://127.0.0.1:1"]);
    expect(stderr).toContain("No Squadron node answers at http://127.0.0.1:1");
    expect(code).toBe(3);
    expect(await readdir(directory.path)).toEqual([]);
  });
});

describe("squadron config check", () => {
  it("lists everything that is wrong with a file, and exits with 1", async () => {
    const file = join(directory.path, "broken.yaml");
    await writeFile(file, "sdk: { prt: 1 }\nhttp: { port: many }\ndefaults: { isolation: users }\n");
    const { code, stdout, stderr } = await run(["config", "check", "--config", file]);
    expect(stderr).toContain('broken.yaml line 1, sdk.prt: unknown key; did you mean "port"?');
    expect(stderr).toContain("broken.yaml line 2, http.port: expected a whole number");
    expect(stderr).toContain("broken.yaml line 3, defaults.isolation");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    const asJson = await run(["config", "check", "--config", file, "--json"]);
    expect(json(asJson)).toMatchObject({
      valid: false,
      problems: [/prt/, /port/, /isolation/].map((part) => expect.stringMatching(part)),
    });
    expect(asJson.code).toBe(1);
  });

  it("prints the effective configuration without its secrets", async () => {
    await writeFile(
      join(directory.path, "squadron.yaml"),
      "auth: { keys: [{ key: very-secret-key, tenant: acme, user: alice }] }\nhttp: { host: 0.0.0.0 }\n",
    );
    const { code, stdout, stderr } = await run(["config", "check"], { SQUADRON_SDK_PORT: "5555" });
    expect(stdout).toContain("port: 5555");
    expect(stdout).toContain("user: alice");
    expect(stdout + stderr).not.toContain("very-secret-key");
    expect(stderr).toContain("http.host is 0.0.0.0");
    expect(code).toBe(0);
  });
});

describe("squadron doctor", () => {
  it("finds everything in order, and leaves no runtime", async () => {
    const model = await startScriptedModel({ apiKey: modelKey });
    const provider = `{ type: openai, baseUrl: "${model.url}", apiKey: ${modelKey} }`;
    const result = await run(["doctor", "--json"], { ...anyPorts, SQUADRON_DEFAULTS_PROVIDER: provider });
    await model.close();
    const { healthy, findings } = json(result) as {
      healthy: boolean;
      findings: { name: string; state: string; message: string }[];
    };
    expect(findings.filter(({ state }) => state !== "ok")).toEqual([]);
    expect(findings.map(({ name }) => name)).toEqual([
      "node",
      "configuration",
      "setpriv",
      "sandbox",
      "runtime",
      "runtime start",
      "sdk port",
      "http port",
      "store",
      "state directory",
      "models",
    ]);
    expect(findings.find(({ name }) => name === "runtime start")?.message).toMatch(/version \d/);
    expect(result.stdout).not.toContain(modelKey);
    expect({ healthy, code: result.code }).toEqual({ healthy: true, code: 0 });
  });

  it("says what does not work and what to do", async () => {
    const model = await startScriptedModel({ apiKey: modelKey });
    const other = createServer().listen(0, "127.0.0.1");
    await eventually(() => other.listening, { what: "the other program" });
    const address = other.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    await writeFile(join(directory.path, "file"), "");
    const result = await run(["doctor", "--json"], {
      SQUADRON_SDK_PORT: String(port),
      SQUADRON_HTTP_PORT: "0",
      SQUADRON_STATE_PATH: "./file/state",
      SQUADRON_STORE_URL: "sqlite:./file/store.db",
      SQUADRON_RUNTIMES_COMMAND: "/bin/false",
      SQUADRON_DEFAULTS_PROVIDER: `{ type: openai, baseUrl: "${model.url}", apiKey: a-wrong-key }`,
    });
    other.close();
    await model.close();
    const { findings } = json(result) as { findings: { name: string; state: string; advice?: string }[] };
    const failed = findings.filter(({ state }) => state === "fail");
    expect(failed.map(({ name }) => name)).toEqual([
      "runtime start",
      "sdk port",
      "store",
      "state directory",
      "models",
    ]);
    for (const { advice } of failed) expect(advice).toBeTruthy();
    expect(result.stdout).not.toContain("a-wrong-key");
    expect(result.code).toBe(1);
  });

  it("waits for a provider that has to be tried again, and tells of it", async () => {
    const provider = `{ type: openai, baseUrl: "http://127.0.0.1:${await deadPort()}", apiKey: ${modelKey} }`;
    const result = await run(["doctor", "--json"], { ...anyPorts, SQUADRON_DEFAULTS_PROVIDER: provider });
    const { findings } = json(result) as { findings: { name: string; state: string; message: string }[] };
    expect(findings.at(-1)).toMatchObject({
      name: "models",
      state: "fail",
      message: expect.stringContaining("could not be reached"),
    });
    expect(result.code).toBe(1);
  });
});

describe("the command line", () => {
  it("refuses an old Node before anything native is loaded", async () => {
    const older = `Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.20.2" } });
      process.on("exit", () => { if (process.moduleLoadList.some((name) => name === "NativeModule net")) console.error("too much was loaded"); });`;
    const { code, stderr } = await runCli(["up"], {
      cwd: directory.path,
      nodeArguments: ["--import", `data:text/javascript,${encodeURIComponent(older)}`],
    });
    expect(stderr).toContain("Squadron needs Node 22.18.0 or newer, and this is Node 20.20.2.");
    expect(code).toBe(1);
    expect(await readdir(directory.path)).toEqual([]);
  });

  it("exits with 2 for wrong use, 3 when no node answers, and says so in its help", async () => {
    expect((await run(["sessions", "--limit", "none"])).code).toBe(2);
    expect((await run(["key", "create"])).code).toBe(2);
    expect((await run(["status", "--url", "no url"])).code).toBe(2);
    expect((await run(["status"], noNode)).code).toBe(3);
    const help = await run(["--help"]);
    expect(help.stdout).toMatch(/Exit codes:[\s\S]*3 {2}no node answers/);
    expect(help.code).toBe(0);
  });

  it("takes what is no Squadron node for what it is", async () => {
    const model = await startScriptedModel();
    const { code, stderr } = await run(["status", "--url", `http://127.0.0.1:${model.port}`]);
    await model.close();
    expect(stderr).toContain("something else does");
    expect(code).toBe(3);
  });
});
