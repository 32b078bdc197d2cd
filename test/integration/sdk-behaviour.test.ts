import { CopilotClient, defineTool, RuntimeConnection } from "@github/copilot-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Secret } from "../../src/kernel/secret.ts";
import { startGitHubStandIn } from "../support/github-stand-in.ts";
import { modelKey, startTestNode, type TestNode } from "../support/test-node.ts";

const approve = async () => ({ kind: "approve-once" }) as const;

describe("what an unmodified SDK program sees as on a bare runtime", () => {
  let node: TestNode;
  beforeAll(async () => {
    node = await startTestNode({ allow: { provider: true } });
  });
  afterAll(() => node.stop());

  it("may leave a session twice: two objects of one connection may mean the same session", async () => {
    const client = node.client("alice");
    const first = await client.createSession({ onPermissionRequest: approve });
    const second = await client.resumeSession(first.sessionId, { onPermissionRequest: approve });
    await second.disconnect();
    await expect(first.disconnect()).resolves.toBeUndefined();
    expect(await client.stop()).toEqual([]);
  });

  it("calls a session by its own name wherever it names its workspace", async () => {
    const client = node.client("alice");
    const session = await client.createSession({ sessionId: "notes", onPermissionRequest: approve });
    const { workspaces, metadata } = session.rpc;
    expect((await metadata.snapshot()).workspace?.id).toBe("notes");
    expect((await workspaces.getWorkspace()).workspace?.id).toBe("notes");
  });

  it("says what a runtime says of files outside the workspace and of a foreground session", async () => {
    const client = node.client("alice");
    const session = await client.createSession({ onPermissionRequest: approve });
    await expect(session.rpc.workspaces.createFile({ path: "../x", content: "" })).rejects.toThrow(
      /workspace files directory/,
    );
    await expect(client.setForegroundSessionId(session.sessionId)).rejects.toThrow(/TUI\+server mode/);
  });

  it("says AUTHENTICATION_FAILED to a wrong token and to none", async () => {
    for (const token of [{ connectionToken: "wrong" }, {}]) {
      const connection = RuntimeConnection.forUri(`127.0.0.1:${node.node.sdk.port}`, token);
      const client = new CopilotClient({ connection });
      await expect(client.start()).rejects.toThrow(/AUTHENTICATION_FAILED/);
      await client.forceStop();
    }
  });

  it("answers a call that the SDK makes without parameters", async () => {
    const client = node.client("alice");
    await client.start();
    const { models } = await client.rpc.models.list(undefined as never);
    expect(models.map(({ id }) => id)).toContain("scripted-1");
  });

  it("asks the client for a fresh token of its own provider before each model call", async () => {
    const tokens: string[] = [];
    const session = await node.client("alice").createSession({
      model: "own-model",
      onPermissionRequest: approve,
      provider: {
        type: "openai",
        baseUrl: node.model.url,
        bearerTokenProvider: async () => {
          tokens.push(modelKey);
          return modelKey;
        },
      },
    });
    expect((await session.sendAndWait("[[echo one]]"))?.data.content).toBe("one");
    expect((await session.sendAndWait("[[secret]]"))?.data.content).toBe(modelKey);
    expect(tokens).toHaveLength(2);
  });

  it("answers a question beside the conversation", async () => {
    const session = await node.client("alice").createSession({ onPermissionRequest: approve });
    const { answer } = await session.rpc.ui.ephemeralQuery({ question: "[[echo blue]]" });
    expect(answer).toBe("blue");
  });

  it("refuses a GitHub token that would be of no use, and keeps nothing of the session", async () => {
    const client = node.client("bob");
    await expect(
      client.createSession({ onPermissionRequest: approve, gitHubToken: "token-of-bob" }),
    ).rejects.toThrow(/come from the provider of its policy/);
    expect(await client.listSessions()).toEqual([]);
  });

  it("lets a program that resumed a session answer the tool call that an earlier one left open", async () => {
    const client = node.client("alice");
    const started = Promise.withResolvers<string>();
    const session = await client.createSession({
      onPermissionRequest: approve,
      tools: [
        defineTool("look_up", {
          description: "Looks up",
          parameters: { type: "object", properties: {} },
          handler: () => new Promise<string>(() => undefined),
        }),
      ],
    });
    session.on("external_tool.requested", ({ data }) => started.resolve(data.requestId));
    const answered = Promise.withResolvers<string>();
    session.on("tool.execution_complete", ({ data }) => answered.resolve(JSON.stringify(data.result)));
    await session.send("[[call look_up {}]]");
    const requestId = await started.promise;

    const later = node.client("alice");
    const resumed = await later.resumeSession(session.sessionId, { onPermissionRequest: approve });
    const result = await resumed.rpc.tools.handlePendingToolCall({ requestId, result: "found it" });
    expect(result.success).toBe(true);
    expect(await answered.promise).toContain("found it");
  });
});

describe("a key with a GitHub token", () => {
  const withGitHub = async (run: (client: CopilotClient, node: TestNode) => Promise<void>) => {
    await using gitHub = await startGitHubStandIn();
    await using node = await startTestNode({
      withoutProvider: true,
      allow: { provider: true, models: ["scripted-1", "own-model"] },
      runtimes: {
        env: Object.fromEntries(Object.entries(gitHub.env).map(([name, value]) => [name, new Secret(value)])),
      },
      keys: [
        {
          key: new Secret("key-gh"),
          tenant: "acme",
          user: "gh",
          roles: ["user"],
          githubToken: new Secret("token-alice"),
        },
      ],
    });
    const connection = RuntimeConnection.forUri(`127.0.0.1:${node.node.sdk.port}`, {
      connectionToken: "key-gh",
    });
    const client = new CopilotClient({ connection });
    try {
      await run(client, node);
    } finally {
      await client.forceStop();
    }
  };

  it("steps back when a session brings or gets a provider of its own", () =>
    withGitHub(async (client, node) => {
      const provider = {
        type: "openai",
        baseUrl: node.model.url,
        apiKey: modelKey,
      } as const;
      const config = { model: "own-model", provider, onPermissionRequest: approve };
      const session = await client.createSession(config);
      expect((await session.sendAndWait("[[echo heard]]"))?.data.content).toBe("heard");
      const plain = await client.createSession({ model: "scripted-1", onPermissionRequest: approve });
      const resumed = await client.resumeSession(plain.sessionId, config);
      expect((await resumed.sendAndWait("[[echo again]]"))?.data.content).toBe("again");
    }));

  it("is refused beside a provider when the client itself gives both", () =>
    withGitHub(async (client, node) => {
      const provider = { type: "openai", baseUrl: node.model.url } as const;
      await expect(
        client.createSession({ sessionId: "both", provider, model: "own-model", gitHubToken: "token-bob" }),
      ).rejects.toThrow(/Cannot specify both gitHubToken and provider/);
      expect(await client.listSessions()).toEqual([]);
    }));

  it("lists the models of its GitHub user that the policy allows", () =>
    withGitHub(async (client) => {
      await client.start();
      const models = await client.listModels();
      expect(models.map(({ id }) => id)).toEqual(["scripted-1"]);
      expect(models[0]?.capabilities.limits.max_context_window_tokens).toBe(128_000);
    }));
});
