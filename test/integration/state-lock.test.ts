import { join } from "node:path";
import { expect, test } from "vitest";
import { startNode } from "../../src/node.ts";
import { isStateLocked, lockState } from "../../src/store/state-lock.ts";
import { tempDir } from "../support/temp.ts";
import { startTestNode, testConfig } from "../support/test-node.ts";
import { runCli } from "./cli-process.ts";

test("a second node on one state directory is refused while the first runs", async () => {
  await using directory = await tempDir("lock");
  await using first = await startTestNode({ directory: directory.path });
  const options = { directory: directory.path, model: first.model };
  await expect(startTestNode(options)).rejects.toMatchObject({
    code: "config_invalid",
    message: expect.stringContaining("Another node runs on the state directory"),
  });
  expect((await first.fetch("alice", "/v1/sessions")).status).toBe(200);

  await first.node.close();
  await using second = await startTestNode(options);
  expect((await second.fetch("alice", "/v1/sessions")).status).toBe(200);
});

test("a node that fails to start leaves the state directory free", async () => {
  await using directory = await tempDir("lock");
  await using elsewhere = await startTestNode();
  const taken = { ...elsewhere.node.config.http, port: elsewhere.node.http.port };
  const config = testConfig(directory.path, elsewhere.model.url);
  await expect(startNode({ ...config, http: taken })).rejects.toThrow();
  expect(await isStateLocked(join(directory.path, "state"))).toBe(false);
});

test("squadron doctor says that a node runs on the state directory", async () => {
  await using directory = await tempDir("lock");
  const lock = await lockState(join(directory.path, "state"));
  const { stdout } = await runCli(["doctor", "--json"], {
    cwd: directory.path,
    env: { SQUADRON_STATE_PATH: "./state", SQUADRON_SDK_PORT: "0", SQUADRON_HTTP_PORT: "0" },
  });
  await lock.release();
  const { findings } = JSON.parse(stdout) as { findings: { name: string }[] };
  expect(findings.find(({ name }) => name === "state directory")).toMatchObject({
    state: "warn",
    message: expect.stringContaining("a node runs on "),
  });
});
