import type { CopilotSession } from "@github/copilot-sdk";
import { describe, expect, it } from "vitest";
import { startTestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";

const approve = async () => ({ kind: "approve-once" }) as const;
const answerTo = async (session: CopilotSession, prompt: string) =>
  (await session.sendAndWait({ prompt }, 10_000))?.data.content;

describe("two connections of one user on one session", () => {
  it("get each its own answer when they ask in turn, without a pause", async () => {
    await using squadron = await startTestNode();
    const first = await squadron
      .client("alice")
      .createSession({ sessionId: "s", onPermissionRequest: approve });
    const second = await squadron.client("alice").resumeSession("s", { onPermissionRequest: approve });
    for (let round = 0; round < 30; round++) {
      expect(await answerTo(first, `[[echo first ${round}]]`)).toBe(`first ${round}`);
      expect(await answerTo(second, `[[echo second ${round}]]`)).toBe(`second ${round}`);
    }
  });

  it("get each its own answer when they ask at once", async () => {
    await using squadron = await startTestNode();
    const first = await squadron
      .client("alice")
      .createSession({ sessionId: "s", onPermissionRequest: approve });
    const second = await squadron.client("alice").resumeSession("s", { onPermissionRequest: approve });
    for (let round = 0; round < 20; round++) {
      const answers = await Promise.all([
        answerTo(first, `[[echo first ${round}]]`),
        answerTo(second, `[[echo second ${round}]]`),
      ]);
      expect(answers).toEqual([`first ${round}`, `second ${round}`]);
    }
  });

  it("see the end of each other's turns all the same", async () => {
    await using squadron = await startTestNode();
    const first = await squadron
      .client("alice")
      .createSession({ sessionId: "s", onPermissionRequest: approve });
    const second = await squadron.client("alice").resumeSession("s", { onPermissionRequest: approve });
    const seen: string[] = [];
    second.on((event) => seen.push(event.type));
    await answerTo(first, "[[echo heard by both]]");
    await eventually(() => seen.includes("session.idle"), { what: "the other connection sees the idle" });
    expect(seen.filter((type) => type === "session.idle")).toHaveLength(1);
  });
});
