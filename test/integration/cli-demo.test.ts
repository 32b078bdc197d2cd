import { execFile } from "node:child_process";
import { readdir } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type TempDir, tempDir } from "../support/temp.ts";
import { eventually, within } from "../support/wait.ts";
import { isAlive, lockStore, runCli, startCli } from "./cli-process.ts";

const execute = promisify(execFile);
const checkout = fileURLToPath(new URL("../..", import.meta.url));

let directory: TempDir;
beforeEach(async () => {
  directory = await tempDir("cli-demo");
});
afterEach(() => directory.remove());

const startDemo = async () => {
  const demo = startCli(["demo"], { cwd: directory.path });
  await demo.printed(/Ctrl-C ends the demo/);
  return demo;
};
const runtimesOf = async (page: string): Promise<{ pid: number; unitKey?: string }[]> => {
  const [, url = "", key = ""] = /status --url (\S+) --key (\S+)/.exec(page) ?? [];
  const { stdout } = await runCli(["runtimes", "--json", "--url", url, "--key", key], {
    cwd: directory.path,
  });
  return JSON.parse(stdout);
};

describe("squadron demo", () => {
  it("prints a curl line and a program that work as they stand, and leaves nothing behind", async () => {
    await using demo = await startDemo();
    const [curl = ""] = /^curl .*$/m.exec(demo.stdout) ?? [];
    const answer = await execute("sh", ["-c", curl], { cwd: directory.path });
    expect(JSON.parse(answer.stdout)).toMatchObject({
      content: expect.stringContaining('I am a scripted model, not an AI. You said: "Hello, who are you?"'),
    });

    const [program = ""] = /^import \{ CopilotClient[\s\S]*?client\.stop\(\);$/m.exec(demo.stdout) ?? [];
    expect(program.split("\n")).toHaveLength(6);
    // Where the SDK is installed, as it is where a user saves the program.
    const ran = await execute(process.execPath, ["--input-type=module", "--eval", program], {
      cwd: checkout,
    });
    expect(ran.stdout).toContain('You said: "Hello from the SDK"');

    expect(demo.stdout).toMatch(/acme +alice +user/);
    expect(demo.stdout).toMatch(/acme +bob +user/);
    const [, page = "", room = "", key = ""] =
      /(http:\S+)\/chat\/(ses_\w+)#key=(demo-bob-\w+)/.exec(demo.stdout) ?? [];
    expect(await (await fetch(`${page}/chat/${room}`)).text()).toContain("Squadron chat");
    const headers = { authorization: `Bearer ${key}` };
    const shared = await fetch(`${page}/v1/sessions/${room}/messages`, { headers });
    const { messages } = (await shared.json()) as {
      messages: { role: string; sender?: string; content: string }[];
    };
    expect(messages.map(({ role, sender }) => sender ?? role)).toEqual([
      "alice",
      "assistant",
      "bob",
      "assistant",
      "alice",
      "assistant",
    ]);
    expect(JSON.stringify(messages)).not.toContain("[[");

    const runtimes = await runtimesOf(demo.stdout);
    expect(runtimes.filter(({ unitKey }) => unitKey !== undefined)).toHaveLength(2);
    expect(await readdir(directory.path)).toHaveLength(1);
    demo.kill("SIGINT");
    expect(await within(demo.ended, { what: "the end of the demo" })).toMatchObject({
      code: 0,
      signal: null,
    });
    expect(runtimes.filter(({ pid }) => isAlive(pid))).toEqual([]);
    expect(await readdir(directory.path)).toEqual([]);
  });

  it("takes other ports when the usual ones are taken", async () => {
    await using first = await startDemo();
    await using second = await startDemo();
    const urls = [first, second].map(({ stdout }) => /HTTP API +(\S+)/.exec(stdout)?.[1]);
    expect(new Set(urls).size).toBe(2);
    for (const url of urls) expect((await fetch(url ?? "")).status).toBe(200);
  });

  it("removes its files even when a second signal ends it in the middle of closing", async () => {
    await using demo = await startDemo();
    const [curl = ""] = /^curl .*$/m.exec(demo.stdout) ?? [];
    const held = execute("sh", ["-c", curl.replace("Hello, who are you?", "[[hold x]] [[tokens 9]]")]).catch(
      () => undefined,
    );
    const runtimes = await eventually(
      async () => {
        const found = await runtimesOf(demo.stdout);
        return found.some(({ unitKey }) => unitKey !== undefined) && found;
      },
      { what: "a runtime" },
    );
    const [own = ""] = await readdir(directory.path);
    const lock = lockStore(join(directory.path, own, "squadron.db"));
    const again = setInterval(() => demo.kill("SIGINT"), 100);
    try {
      expect(await within(demo.ended, { what: "the end of the demo" })).toMatchObject({ code: 130 });
    } finally {
      clearInterval(again);
      lock.close();
    }
    await held;
    await eventually(() => runtimes.every(({ pid }) => !isAlive(pid)), { what: "the end of its runtimes" });
    expect(await readdir(directory.path)).toEqual([]);
  });

  it("lives on its own: neither variables nor proxies of the environment reach it", async () => {
    const proxy = createServer().listen(0, "127.0.0.1");
    await eventually(() => proxy.listening, { what: "the proxy" });
    const address = proxy.address();
    const url = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
    let asked = 0;
    proxy.on("connection", (socket) => {
      asked += 1;
      socket.destroy();
    });
    const env = { http_proxy: url, HTTP_PROXY: url, https_proxy: url, SQUADRON_HTTP_PORT: "no port" };
    await using demo = startCli(["demo"], { cwd: directory.path, env });
    await demo.printed(/Ctrl-C ends the demo/);
    const [curl = ""] = /^curl .*$/m.exec(demo.stdout) ?? [];
    const answer = await execute("sh", ["-c", curl], { env: { PATH: process.env.PATH, ...env } });
    proxy.close();
    expect(JSON.parse(answer.stdout)).toMatchObject({ content: expect.stringContaining("scripted model") });
    expect(asked).toBe(0);
  });
});
