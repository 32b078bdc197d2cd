import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { openStore } from "../../src/store/open-store.ts";
import { startTestNode } from "../support/test-node.ts";

const approve = async () => ({ kind: "approve-once" }) as const;

it("a session whose files an earlier version had in its state directory only goes on", async () => {
  await using first = await startTestNode();
  const session = await first.client("alice").createSession({ sessionId: "s", onPermissionRequest: approve });
  await session.sendAndWait("[[echo one]]");
  await first.node.close();

  // As version 0.1 left it: nothing in the store but the row, the files below the unit's directory.
  const store = await openStore(first.node.config.store.url);
  const row = await store.sessions.byName("acme", "alice", "s");
  if (row === undefined) throw new Error("The session is nowhere.");
  const files = await store.state.files({ kind: "session", id: row.id });
  const held = await store.state.acquire(row.id, 0);
  if (held === undefined) throw new Error("The session is nowhere.");
  await store.state.commit({
    sessionId: row.id,
    ...held,
    files: files.map(({ path }) => ({ kind: "remove", path })),
    maxBytes: 1e9,
  });
  await store.close();
  const unit = createHash("sha256").update(row.unit).digest("hex").slice(0, 32);
  for (const { path, bytes } of files.filter((entry) => entry.kind === "file")) {
    const to = join(
      first.directory,
      "state",
      "units",
      unit,
      "home",
      ".copilot",
      "session-state",
      row.id,
      path,
    );
    await mkdir(dirname(to), { recursive: true });
    await writeFile(to, bytes);
  }

  await using second = await startTestNode({ directory: first.directory, model: first.model });
  const again = await second.client("alice").resumeSession("s", { onPermissionRequest: approve });
  expect((await again.sendAndWait("[[count]]"))?.data.content).toBe("2");
});
