import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tcpSocketsOf, textsInMemory } from "../support/process-memory.ts";
import { connectRaw } from "../support/raw-client.ts";
import { modelKey, startTestNode, type TestNode, users } from "../support/test-node.ts";
import { openVictim, sayIn, type Victim } from "../support/victim.ts";
import { eventually } from "../support/wait.ts";

/** What stands in the node's own environment is the operator's. Put together, so that only the process under test can have it whole. */
const environmentSecret = ["SQUADRON", "ENVIRONMENT", "SECRET", String(process.pid)].join("-");

describe.runIf(process.platform === "linux")("where a shell would look for the credentials", () => {
  let squadron: TestNode;
  let victim: Victim;
  const pids = (): readonly number[] => squadron.node.fleet.list().flatMap(({ pid }) => pid ?? []);

  beforeAll(async () => {
    process.env.SQUADRON_TEST_SECRET = environmentSecret;
    squadron = await startTestNode({ isolation: "shared" });
    victim = await openVictim(squadron);
    const bob = await connectRaw(squadron.node.sdk.port, users.bob.key);
    await bob.ask("session.create", { sessionId: "bobs" });
    for (const status of [400, 401]) {
      await bob.ask("session.send", { sessionId: "bobs", prompt: `[[fail ${status}]]` });
      await eventually(
        () => bob.events("session.error").some(({ data }) => JSON.stringify(data).includes(String(status))),
        { what: `error ${status}` },
      );
    }
    await sayIn(bob, "bobs", "[[echo after the errors]]");
    await bob.close();
  });
  afterAll(async () => {
    delete process.env.SQUADRON_TEST_SECRET;
    await victim.client.close();
    await squadron.stop();
  });

  it.runIf(process.getuid?.() === 0)(
    "the runtime's memory holds none, and the search would find one",
    async () => {
      const [pid] = pids();
      expect(pid).toBeDefined();
      const keys = [modelKey, ...Object.values(users).map(({ key }) => `${key}"`), environmentSecret];
      const found = await textsInMemory(pid ?? 0, [...keys, victim.row.id]);
      expect([...found]).toEqual([victim.row.id]);
    },
  );

  it("its environment and command line hold none", async () => {
    for (const pid of pids()) {
      for (const file of ["environ", "cmdline"]) {
        const text = await readFile(`/proc/${pid}/${file}`, "latin1");
        for (const secret of [
          modelKey,
          environmentSecret,
          ...Object.values(users).map(({ key }) => key),
          squadron.model.url,
        ]) {
          expect(text.includes(secret), `${file}: ${secret}`).toBe(false);
        }
      }
    }
  });

  it("no file of the node holds one", async () => {
    const files = await readdir(squadron.directory, { recursive: true, withFileTypes: true });
    let holdingPrompt = 0;
    for (const file of files.filter((entry) => entry.isFile())) {
      const content = await readFile(join(file.parentPath, file.name));
      if (content.includes("CANARY-PROMPT")) holdingPrompt++;
      for (const secret of [
        modelKey,
        environmentSecret,
        ...Object.values(users).map(({ key }) => `"${key}"`),
      ]) {
        expect(content.includes(secret), `${file.name}: ${secret}`).toBe(false);
      }
    }
    expect(holdingPrompt).toBeGreaterThan(0);
  });

  it("it listens on no port and has no connection", async () => {
    for (const pid of pids()) expect(await tcpSocketsOf(pid)).toEqual([]);
    expect((await tcpSocketsOf(process.pid)).length).toBeGreaterThan(0);
  });

  it("the metrics name no user, no session and no key", async () => {
    const text = await squadron.node.metrics.text();
    for (const secret of [
      modelKey,
      ...Object.values(users).map(({ key }) => key),
      "alice",
      victim.row.id,
      victim.row.publicId,
      victim.name,
    ]) {
      expect(text.includes(secret), secret).toBe(false);
    }
  });
});
