import { CopilotRequestHandler } from "@github/copilot-sdk";
import { describe, expect, it } from "vitest";
import { connectRaw } from "../support/raw-client.ts";
import { modelKey, startTestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";

const approve = async () => ({ kind: "approve-once" }) as const;

/** A client that makes its sessions' model calls itself, and notes where it was sent. */
const handlerTo = (modelUrl: string, key: string) => {
  const urls: string[] = [];
  class Handler extends CopilotRequestHandler {
    protected override async sendRequest(request: Request): Promise<Response> {
      urls.push(request.url);
      const path = new URL(request.url).pathname.replace(/^\/v1/, "");
      return fetch(`${modelUrl}${path}`, {
        method: request.method,
        headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
        body: await request.text(),
      });
    }
  }
  return { handler: new Handler(), urls };
};
const provider = { type: "openai", baseUrl: "http://client.example/v1", apiKey: "the-client's-own" } as const;

describe("a client that makes model calls itself", () => {
  it("makes those of its own sessions and of no others, on one shared runtime", async () => {
    await using squadron = await startTestNode({ isolation: "shared", allow: { provider: true } });
    const mine = handlerTo(squadron.model.url, modelKey);
    const alice = squadron.client("alice", { requestHandler: mine.handler });
    const bob = squadron.client("bob");
    const hers = await alice.createSession({
      sessionId: "s",
      model: "scripted-1",
      provider,
      onPermissionRequest: approve,
    });
    const his = await bob.createSession({ sessionId: "s", onPermissionRequest: approve });
    expect((await hers.sendAndWait("[[echo hers]]"))?.data.content).toBe("hers");
    expect((await his.sendAndWait("[[echo his]]"))?.data.content).toBe("his");
    expect(mine.urls).toEqual(["http://client.example/v1/chat/completions"]);
    expect(squadron.model.requests.filter(({ method }) => method === "POST")).toHaveLength(2);
  });

  it("ends its running turn with an error when it goes, and leaves the node as it was", async () => {
    await using squadron = await startTestNode({ allow: { provider: true } });
    const called = Promise.withResolvers<void>();
    class Silent extends CopilotRequestHandler {
      protected override sendRequest(): Promise<Response> {
        called.resolve();
        return new Promise(() => undefined);
      }
    }
    const leaver = squadron.client("alice", { requestHandler: new Silent() });
    const session = await leaver.createSession({
      sessionId: "s",
      model: "scripted-1",
      provider,
      onPermissionRequest: approve,
    });
    await session.send("[[echo never]]");
    await called.promise;
    await leaver.forceStop();
    const stays = squadron.client("alice");
    const other = await stays.createSession({ sessionId: "t", onPermissionRequest: approve });
    expect((await other.sendAndWait("[[echo well]]"))?.data.content).toBe("well");
    // The runtime tries a failed call again for some seconds before it gives the turn up.
    await eventually(() => squadron.node.gateway.hosts.every(({ busy }) => !busy), {
      what: "the turn has ended",
      deadlineMs: 20_000,
    });
  });

  it("is the only one who can answer them, whoever knows a call's id", async () => {
    await using squadron = await startTestNode({ isolation: "shared", allow: { provider: true } });
    const alice = await connectRaw(squadron.node.sdk.port, "key-alice");
    const bob = await connectRaw(squadron.node.sdk.port, "key-bob");
    const asked = Promise.withResolvers<Record<string, unknown>>();
    alice.answerWith((method, params) => {
      if (method === "llmInference.httpRequestStart") asked.resolve(params);
      return {};
    });
    await alice.ask("llmInference.setProvider", {});
    await alice.ask("session.create", { sessionId: "s", model: "scripted-1", provider });
    await alice.ask("session.send", { sessionId: "s", prompt: "hello" });
    const { requestId, sessionId } = await asked.promise;
    expect(sessionId).toBe("s");
    const answer = { requestId, status: 200, headers: {} };
    expect(await bob.ask("llmInference.httpResponseStart", answer)).toEqual({ accepted: false });
    expect(await alice.ask("llmInference.httpResponseStart", answer)).toEqual({ accepted: true });
    await Promise.all([alice.close(), bob.close()]);
  });

  it("is refused where the policy keeps model calls to the server", async () => {
    await using squadron = await startTestNode();
    const { handler } = handlerTo(squadron.model.url, "none");
    await expect(squadron.client("alice", { requestHandler: handler }).start()).rejects.toThrow(
      /allow\.provider/,
    );
  });
});
