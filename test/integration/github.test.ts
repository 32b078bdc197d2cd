import { CopilotClient, RuntimeConnection } from "@github/copilot-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Secret } from "../../src/kernel/secret.ts";
import { type GitHubStandIn, startGitHubStandIn } from "../support/github-stand-in.ts";
import { startTestNode, type TestNode, type TestNodeOptions } from "../support/test-node.ts";

let github: GitHubStandIn;
beforeAll(async () => {
  github = await startGitHubStandIn();
});
afterAll(() => github.close());

const approve = async () => ({ kind: "approve-once" }) as const;

/** A node without a provider of its own: sessions are those of GitHub users, told apart by their tokens. */
const startGitHubNode = (options: TestNodeOptions = {}): Promise<TestNode> =>
  startTestNode({
    isolation: "shared",
    ...options,
    withoutProvider: true,
    runtimes: {
      env: Object.fromEntries(Object.entries(github.env).map(([name, value]) => [name, new Secret(value)])),
    },
    keys: [
      {
        key: new Secret("key-ga"),
        tenant: "acme",
        user: "ga",
        roles: ["user"],
        githubToken: new Secret("token-alice"),
      },
      {
        key: new Secret("key-gb"),
        tenant: "acme",
        user: "gb",
        roles: ["user"],
        githubToken: new Secret("token-bob"),
      },
    ],
  });

const loginOf = async (
  node: TestNode,
  key: string,
  config: Partial<Parameters<CopilotClient["createSession"]>[0]> = {},
): Promise<string | undefined> => {
  const client = new CopilotClient({
    connection: RuntimeConnection.forUri(`127.0.0.1:${node.node.sdk.port}`, { connectionToken: key }),
  });
  try {
    const session = await client.createSession({ onPermissionRequest: approve, ...config });
    const status = await session.rpc.gitHubAuth.getStatus();
    expect((await session.sendAndWait("[[echo heard]]"))?.data.content).toBe("heard");
    return status.login;
  } finally {
    await client.forceStop();
  }
};

describe("GitHub tokens, all users on one shared runtime", () => {
  it("lets each key's own token be its sessions' GitHub user", async () => {
    await using node = await startGitHubNode();
    expect(await loginOf(node, "key-ga")).toBe("alice");
    expect(await loginOf(node, "key-gb")).toBe("bob");
    expect(node.node.fleet.list()).toHaveLength(1);
    const tokens = new Set(github.requests.map(({ headers }) => headers.authorization));
    expect(tokens).toContain("Bearer token-alice");
    expect(tokens).toContain("Bearer token-bob");
  });

  it("uses the policy's service token for users without one, and a client's own before either", async () => {
    await using node = await startGitHubNode({ policy: { githubToken: new Secret("token-bob") } });
    expect(await loginOf(node, "key-alice")).toBe("bob");
    expect(await loginOf(node, "key-ga")).toBe("alice");
    expect(await loginOf(node, "key-ga", { gitHubToken: "token-bob" })).toBe("bob");
  });

  it("refuses a session with a token that GitHub does not know, and keeps nothing of it", async () => {
    await using node = await startGitHubNode();
    const client = node.client("alice");
    await expect(
      client.createSession({ sessionId: "bad", gitHubToken: "token-nobody", onPermissionRequest: approve }),
    ).rejects.toThrow();
    expect(await client.listSessions()).toEqual([]);
    const session = await client.createSession({
      sessionId: "bad",
      gitHubToken: "token-bob",
      onPermissionRequest: approve,
    });
    expect((await session.rpc.gitHubAuth.getStatus()).login).toBe("bob");
  });

  it("writes no token to disk", async () => {
    await using node = await startGitHubNode();
    await loginOf(node, "key-ga", { gitHubToken: "token-alice" });
    const { sessions } = await node.node.store.sessions.listAll({ limit: 10 });
    expect(JSON.stringify(sessions)).not.toContain("token-alice");
  });
});
