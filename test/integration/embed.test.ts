import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ScriptedModel, startScriptedModel } from "../../demo/scripted-model.ts";
import { Squadron, SquadronError, type SquadronOptions } from "../../src/index.ts";
import { type TempDir, tempDir } from "../support/temp.ts";

const modelKey = "sk-model-key-of-the-embedding-test";
const key = "key-of-alice-for-the-embedding-test";

let directory: TempDir;
let model: ScriptedModel;
let squadron: Squadron;

const options = (): SquadronOptions => ({
  sdk: { port: 0 },
  http: { port: 0 },
  auth: { keys: [{ key, tenant: "acme", user: "alice" }] },
  defaults: {
    model: "scripted-1",
    provider: { type: "openai", baseUrl: model.url, apiKey: modelKey },
    sessions: { hibernateAfter: "1m" },
  },
  tenants: { globex: { isolation: "tenant" } },
  state: { path: join(directory.path, "state") },
  store: { url: `sqlite:${join(directory.path, "squadron.db")}` },
  telemetry: { logLevel: "silent" },
});

beforeAll(async () => {
  directory = await tempDir("embed");
  model = await startScriptedModel({ apiKey: modelKey });
  squadron = await Squadron.start(options());
});
afterAll(async () => {
  await squadron?.close();
  await model?.close();
  await directory?.remove();
});

const answerOf = async (
  client: Awaited<ReturnType<Squadron["clientFor"]>>,
  sessionId: string,
  prompt: string,
) => {
  const session = await client.createSession({ sessionId });
  return (await session.sendAndWait({ prompt }))?.data.content;
};

describe("the embedding API", () => {
  it("gives each user a client of their own", async () => {
    const alice = await squadron.clientFor({ tenant: "acme", user: "alice" });
    const bob = await squadron.clientFor({ tenant: "globex", user: "bob" });
    expect(await answerOf(alice, "mine", "[[echo for alice]]")).toBe("for alice");
    expect(await answerOf(bob, "mine", "[[count]] [[echo for bob]]")).toBe("1 for bob");
    expect((await alice.listSessions()).map(({ sessionId }) => sessionId)).toEqual(["mine"]);
    expect((await bob.listSessions()).map(({ summary }) => summary)).not.toContain("[[echo for alice]]");
    await Promise.all([alice.stop(), bob.stop()]);
  });

  it("is the same user as one who comes with a key", async () => {
    const embedded = await squadron.clientFor({ tenant: "acme", user: "alice" });
    await answerOf(embedded, "seen-by-both", "[[echo hello]]");
    await embedded.stop();
    const response = await fetch(`${squadron.httpUrl}/v1/sessions`, {
      headers: { authorization: `Bearer ${key}` },
    });
    expect(
      ((await response.json()) as { sessions: { name: string }[] }).sessions.map(({ name }) => name),
    ).toContain("seen-by-both");
  });

  it("connects each client once: a stopped one does not come back, another one does", async () => {
    const client = await squadron.clientFor({ tenant: "acme", user: "alice" });
    expect((await client.ping("there?")).message).toContain("there?");
    await client.stop();
    await expect(client.start()).rejects.toThrow();
    const another = await squadron.clientFor({ tenant: "acme", user: "alice" });
    expect((await another.ping("there?")).message).toContain("there?");
    await another.stop();
  });

  it("gives its users no more than the role user, and refuses names that nobody may have", async () => {
    await expect(squadron.clientFor({ tenant: "acme", user: "" })).rejects.toMatchObject({
      code: "invalid_request",
      details: { parameter: "user" },
    });
    await expect(squadron.clientFor({ tenant: "a\nb", user: "alice" })).rejects.toBeInstanceOf(SquadronError);
    expect(squadron.firstAdminKey).toBeUndefined();
  });

  it("closes with its clients connected, and starts again on its store", async () => {
    const place = await tempDir("embed-again");
    const own = {
      ...options(),
      auth: {},
      state: { path: join(place.path, "state") },
      store: { url: `sqlite:${join(place.path, "squadron.db")}` },
    };
    const first = await Squadron.start(own);
    expect(first.firstAdminKey).toMatch(/^sqd_/);
    const client = await first.clientFor({ tenant: "acme", user: "alice" });
    expect(await answerOf(client, "kept", "[[echo one]]")).toBe("one");
    await first.close();
    {
      await using second = await Squadron.start(own);
      expect(second.firstAdminKey).toBeUndefined();
      const again = await second.clientFor({ tenant: "acme", user: "alice" });
      const session = await again.resumeSession("kept", {});
      expect((await session.sendAndWait({ prompt: "[[count]]" }))?.data.content).toBe("2");
      await again.stop();
    }
    await client.forceStop();
    expect(await readdir(place.path)).toContain("squadron.db");
    await place.remove();
  });

  it("says everything that is wrong with its options", async () => {
    const wrong = { sdk: { port: -1 }, htp: {} } as SquadronOptions;
    await expect(Squadron.start(wrong)).rejects.toMatchObject({
      code: "config_invalid",
      details: {
        problems: [
          expect.stringContaining("options, sdk.port"),
          expect.stringContaining('did you mean "http"'),
        ],
      },
    });
  });
});
