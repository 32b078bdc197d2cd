import { chmod } from "node:fs/promises";
import { join } from "node:path";
import BetterSqlite from "better-sqlite3";
import { beforeAll, expect, it } from "vitest";
import { inside } from "../../src/fleet/sandbox/bubblewrap.ts";
import { needBoxes } from "../support/bubblewrap.ts";
import { tempDir } from "../support/temp.ts";
import { startTestNode, type TestNodeOptions } from "../support/test-node.ts";

const approve = async () => ({ kind: "approve-once" }) as const;

beforeAll(needBoxes);

it("a session stored when boxes had another working directory goes on in the present one", async () => {
  await using directory = await tempDir("former-places");
  await chmod(directory.path, 0o711);
  const options: TestNodeOptions = {
    directory: directory.path,
    allow: { all: true },
    runtimes: {
      sandbox: { kind: "bubblewrap", network: "none", memoryBytes: 2 ** 29, processes: 96, cpus: 1 },
    },
  };
  {
    await using first = await startTestNode(options);
    const session = await first
      .client("alice")
      .createSession({ sessionId: "s", onPermissionRequest: approve });
    await session.rpc.shell.executeUserRequested({
      requestId: "1",
      command: "mkdir sub; echo kept > sub/file",
    });
    await session.rpc.metadata.setWorkingDirectory({ workingDirectory: `${inside.work}/sub` });
    await session.sendAndWait("[[echo one]]");
  }

  const former = "/a-former-place";
  const database = new BetterSqlite(join(directory.path, "squadron.db"));
  const { changes } = database
    .prepare("update sessions set record = replace(record, ?, ?) where instr(record, ?) > 0")
    .run(`"${inside.work}`, `"${former}`, inside.work);
  database.close();
  expect(changes).toBe(1);

  await using second = await startTestNode(options);
  const again = await second.client("alice").resumeSession("s", { onPermissionRequest: approve });
  const { output } = await again.rpc.shell.executeUserRequested({ requestId: "2", command: "pwd; cat file" });
  expect(output).toContain(`${inside.work}/sub\nkept`);
  // The two commands are messages of the history too.
  expect((await again.sendAndWait("[[count]]"))?.data.content).toBe("4");
});
