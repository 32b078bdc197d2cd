import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ScriptedModel, startScriptedModel } from "../../demo/scripted-model.ts";
import type { Isolation } from "../../src/kernel/isolation.ts";
import { startBareRuntime } from "../support/bare-runtime.ts";
import { comparable } from "../support/comparable.ts";
import { runSessionProgram, type Transcript } from "../support/session-program.ts";
import { modelKey, startTestNode } from "../support/test-node.ts";

/** One unmodified program, on a bare runtime and through Squadron in every isolation: what it sees must be equal. */
const isolations: readonly Isolation[] = ["shared", "tenant", "user", "session"];

let model: ScriptedModel;
const bare: Partial<Record<"plain" | "empty", Transcript>> = {};

beforeAll(async () => {
  model = await startScriptedModel({ apiKey: modelKey });
  for (const mode of ["plain", "empty"] as const) {
    await using runtime = await startBareRuntime();
    bare[mode] = await runSessionProgram({
      makeClient: () => runtime.bareClient(mode === "empty" ? { mode } : {}),
      provider: { type: "openai", baseUrl: model.url, apiKey: modelKey },
      ids: { session: "program" },
      foreignEnds: true,
    });
  }
}, 120_000);
afterAll(() => model.close());

describe.each(isolations)("the program through Squadron, isolation %s", (isolation) => {
  it.each(["plain", "empty"] as const)("sees what it sees on a bare runtime (%s client)", async (mode) => {
    await using squadron = await startTestNode({
      model,
      isolation,
      allow: { tools: ["custom:*", "builtin:ask_user"] },
    });
    const transcript = await runSessionProgram({
      makeClient: () => squadron.client("alice", mode === "empty" ? { mode } : {}),
      ids: { session: "program" },
      foreignEnds: false,
    });
    expect(comparable(transcript, mode)).toEqual(comparable(bare[mode], mode));
  });
});
