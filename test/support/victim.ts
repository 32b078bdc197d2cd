import { isObject } from "../../src/kernel/json.ts";
import type { SquadronNode } from "../../src/node.ts";
import type { OwnedSession } from "../../src/store/store.ts";
import { connectRaw, type RawClient } from "./raw-client.ts";
import type { TestNode } from "./test-node.ts";
import { users } from "./test-node.ts";
import { eventually } from "./wait.ts";

/** What nobody but the owner may ever see; none of it is part of another. */
export const canaries = {
  prompt: "CANARY-PROMPT-4b1d",
  answer: "CANARY-ANSWER-90ee",
  toolName: "canary_tool_77c1",
  toolOutput: "CANARY-TOOL-OUTPUT-1f0a",
  toolArgument: "CANARY-TOOL-ARGUMENT-6d2c",
  title: "CANARY-TITLE-e21b",
  systemMessage: "CANARY-SYSTEM-MESSAGE-c30d",
  plan: "CANARY-PLAN-8a88",
  label: "CANARY-LABEL-53f7",
  command: "canary-command-2e9d",
} as const;

/** A session of Alice, full of canaries, with her client attached. */
export interface Victim extends AsyncDisposable {
  readonly client: RawClient;
  readonly name: string;
  readonly row: OwnedSession;
  /** Everything that names the session: nobody else may be told any of it. */
  readonly ids: { readonly name: string; readonly internal: string; readonly public: string };
  /** Sends a prompt and gives the text of the answer. */
  say(prompt: string): Promise<string>;
  /** The history as the owner reads it. */
  history(): Promise<string>;
}

/** The text of the latest answer that this client has seen. */
export const lastAnswer = (client: RawClient): string => {
  const data = client.events("assistant.message").at(-1)?.data;
  return isObject(data) ? String(data.content) : "";
};

/** Sends a prompt into a session of this client and waits for the end of the turn. */
export const sayIn = async (client: RawClient, sessionId: string, prompt: string): Promise<string> => {
  const idles = client.events("session.idle").length;
  await client.ask("session.send", { sessionId, prompt });
  await eventually(() => client.events("session.idle").length > idles, {
    what: `the end of the turn of "${prompt}"`,
  });
  return lastAnswer(client);
};

export const rowOf = async (
  node: SquadronNode,
  name: string,
  user: keyof typeof users = "alice",
): Promise<OwnedSession> => {
  const row = await node.store.sessions.byName(users[user].tenant, users[user].user, name);
  if (row === undefined) throw new Error(`${user} has no session ${name}.`);
  return row;
};

/** Answers what a session asks of its client as a willing client would: tools say `output`, everything is permitted. */
export const answerEverything = (client: RawClient, sessionId: string, output: string): void => {
  client.answerWith(() => ({}));
  client.socket.on("data", () => {
    for (const event of client.events("external_tool.requested")) {
      const { requestId } = event.data as { requestId: string };
      if (answered.has(requestId)) continue;
      answered.add(requestId);
      client.send({
        jsonrpc: "2.0",
        id: `tool-${requestId}`,
        method: "session.tools.handlePendingToolCall",
        params: { sessionId, requestId, result: { textResultForLlm: output, resultType: "success" } },
      });
    }
  });
  const answered = new Set<string>();
};

export const openVictim = async (squadron: TestNode, name = "alice-secret-name-5d3b"): Promise<Victim> => {
  const client = await connectRaw(squadron.node.sdk.port, users.alice.key);
  answerEverything(client, name, canaries.toolOutput);
  await client.ask("session.create", {
    sessionId: name,
    hooks: true,
    requestPermission: true,
    streaming: true,
    clientName: canaries.label,
    systemMessage: { mode: "append", content: canaries.systemMessage },
    tools: [
      {
        name: canaries.toolName,
        description: "A tool",
        parameters: { type: "object", properties: { text: { type: "string" } } },
        skipPermission: true,
      },
    ],
    commands: [{ name: canaries.command, description: "A command" }],
  });
  const say: Victim["say"] = (prompt) => sayIn(client, name, prompt);
  await say(`${canaries.prompt} [[echo ${canaries.answer}]]`);
  const args = JSON.stringify({ text: canaries.toolArgument });
  await say(`[[call ${canaries.toolName} ${args}]]`);
  await client.ask("session.name.set", { sessionId: name, name: canaries.title });
  await client.ask("session.plan.update", { sessionId: name, content: canaries.plan });
  await client.ask("session.metadata.updateClientMetadata", {
    sessionId: name,
    set: { label: canaries.label },
  });
  const row = await rowOf(squadron.node, name);
  return {
    client,
    name,
    row,
    ids: { name, internal: row.id, public: row.publicId },
    say,
    history: async () => JSON.stringify(await client.ask("session.getMessages", { sessionId: name })),
    [Symbol.asyncDispose]: () => client.close(),
  };
};

/** Which of Alice's secrets stand in the text; of her session's names only those that are not in `sent`. */
export const leaks = (victim: Pick<Victim, "ids">, text: string, sent = ""): readonly string[] =>
  [...Object.values(canaries), ...Object.values(victim.ids).filter((id) => !sent.includes(id))].filter(
    (secret) => text.includes(secret),
  );
