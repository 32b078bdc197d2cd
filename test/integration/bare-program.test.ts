import { CopilotClient, RuntimeConnection } from "@github/copilot-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ScriptedModel, startScriptedModel } from "../../demo/scripted-model.ts";
import { startBareRuntime, stdioClient } from "../support/bare-runtime.ts";
import { comparable } from "../support/comparable.ts";
import { gitHubUsers, startGitHubStandIn } from "../support/github-stand-in.ts";
import { runSessionProgram, type Transcript } from "../support/session-program.ts";
import { tempDir } from "../support/temp.ts";

let model: ScriptedModel;
beforeAll(async () => {
  model = await startScriptedModel({ apiKey: "model-key" });
});
afterAll(() => model.close());

const provider = (url: string) => ({ type: "openai" as const, baseUrl: url, apiKey: "model-key" });

/** The program on a bare runtime of its own, over TCP. */
const runBare = async (session: string, mode: { mode?: "empty" }): Promise<Transcript> => {
  await using runtime = await startBareRuntime();
  return await runSessionProgram({
    makeClient: () => runtime.bareClient(mode),
    provider: provider(model.url),
    ids: { session },
    foreignEnds: true,
  });
};

const recalled = [
  "hello",
  "[[tokens 5]]",
  "[[recall]] [[count]]",
  "[[knows xyzzy]] [[tools]]",
  '[[call lookup {"q":"one"}]]',
  '[[call lookup {"q":"two"}]] [[call guarded {"q":"three"}]]',
  '[[call guarded {"q":"refuse me"}]]',
  '[[call lookup {"q":"change me"}]]',
  "[[echo rewritten by the hook]]",
  '[[call ask_user {"question":"Which colour?","choices":["red","blue"]}]]',
  "[[echo held and never released]] [[hold <session>]]",
  "[[count]]",
  "[[model]]",
  "[[echo to the second]] [[count]]",
  "[[echo to the first]] [[count]]",
  "[[count]]",
];
const listed = {
  sessionId: "<session>",
  summary: "hello",
  isRemote: false,
  context: { workingDirectory: "<path>" },
};
const expectedResults = {
  create: { sessionId: "<session>", elicitation: true },
  "first turn": 'I am a scripted model, not an AI. You said: "hello" (message 1).',
  streaming: "t1 t2 t3 t4 t5",
  "full history": "hello / [[tokens 5]] 3",
  "system message and tools": "yes ask_user, guarded, lookup",
  tool: 'lookup said: lookup found {"q":"one"}',
  "two tools": 'lookup said: lookup found {"q":"two"} guarded said: guarded found {"q":"three"}',
  // A refusal ends the turn: its last message is the one that asked for the tool.
  "permission refused": "",
  "hook changes arguments": 'lookup said: lookup found {"q":"changed"}',
  "hook changes the prompt": "rewritten by the hook",
  "user input": "ask_user said: User selected: blue",
  elicitation: { confirm: true, select: "blue", input: "typed" },
  abort: undefined,
  "after the abort": "12",
  "other model": "scripted-2",
  "second client attaches": { sessionId: "<session>", elicitation: true },
  "second client asks": "to the second 14",
  "first client asks": "to the first 15",
  "second client leaves": undefined,
  "first client remains": "16",
  "first client leaves": undefined,
  "third client resumes": { sessionId: "<session>", elicitation: true },
  "full history after resume": `${recalled.join(" / ")} 17 yes scripted-1`,
  "tool after resume": 'guarded said: guarded found {"q":"four"}',
  list: [listed],
  metadata: listed,
  delete: { listed: false, metadata: undefined, resume: "refused" },
};

describe("the session program on a bare runtime", () => {
  it.each([
    ["a plain client", {}],
    ["a client in empty mode", { mode: "empty" as const }],
  ])("is deterministic and gives the expected answers: %s", async (_name, mode) => {
    const runs = [runBare("program-one", mode), runBare("program_2-two", mode)] as const;
    // When one fails, the other still has a runtime to clean up: the test must not end before it has.
    await Promise.allSettled(runs);
    const [one, two] = await Promise.all(runs);
    expect(Object.fromEntries(one.phases.map((phase) => [phase.name, phase.result]))).toEqual(
      expectedResults,
    );
    expect(comparable(two, "empty")).toEqual(comparable(one, "empty"));

    const handlers = one.calls.map((call) => `${call.client} ${call.handler}`);
    expect(handlers.filter((name) => name === "a onPermissionRequest")).toHaveLength(2);
    expect(handlers.filter((name) => name === "a tool lookup")).toHaveLength(3);
    expect(handlers.filter((name) => name === "a onUserInputRequest")).toHaveLength(1);
    expect(handlers.filter((name) => name === "a onElicitationRequest")).toHaveLength(3);
    expect(handlers.filter((name) => name === "c tool guarded")).toHaveLength(1);
    expect(one.lifecycle.c).toContain("session.deleted");
    expect(one.history.filter((event) => event.type === "user.message")).toHaveLength(18);
  });
});

describe("other ways to a bare runtime", () => {
  it("answers a client over stdio", async () => {
    await using home = await tempDir("stdio");
    const client = stdioClient(home.path);
    try {
      const session = await client.createSession({
        model: "scripted-1",
        provider: provider(model.url),
        availableTools: ["custom:*"],
      });
      const answer = await session.sendAndWait("[[echo over stdio]] [[secret]]");
      expect(answer?.data.content).toBe("over stdio model-key");
    } finally {
      await client.stop();
    }
  });

  it("refuses a client with a wrong connection token", async () => {
    await using runtime = await startBareRuntime();
    const client = new CopilotClient({
      connection: RuntimeConnection.forUri(`127.0.0.1:${runtime.port}`, { connectionToken: "wrong" }),
    });
    await expect(client.start()).rejects.toThrow(/AUTHENTICATION_FAILED/);
  });

  it("takes the stand-in for GitHub, with a user of its own for each session", async () => {
    await using gitHub = await startGitHubStandIn();
    await using runtime = await startBareRuntime({ env: gitHub.env });
    const client = runtime.bareClient();
    const create = (gitHubToken: string) =>
      client.createSession({ model: "scripted-1", availableTools: ["custom:*"], gitHubToken });
    try {
      for (const [token, user] of Object.entries(gitHubUsers)) {
        const session = await create(token);
        expect(await session.rpc.gitHubAuth.getStatus()).toMatchObject({ login: user.login });
        expect((await session.sendAndWait("[[secret]]"))?.data.content).toBe(token);
      }
      await expect(create("token-of-nobody")).rejects.toThrow(/401/);
    } finally {
      await client.stop();
    }
  });
});
