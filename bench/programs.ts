import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { ProviderConfig } from "@github/copilot-sdk";
import { modelKey } from "../test/support/test-node.ts";
import { within } from "../test/support/wait.ts";

/** Ends a process, unless it has ended, and waits for its end. */
export const ended = async (child: ChildProcess, end: () => void): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  end();
  await exited;
};

/** The scripted model in a process of its own, which ends with `parts`; its base URL. */
export const startModel = async (parts: AsyncDisposableStack): Promise<string> => {
  const program = fileURLToPath(new URL("../demo/scripted-model.ts", import.meta.url));
  const child = spawn(process.execPath, [program], {
    env: { ...process.env, SCRIPTED_MODEL_KEY: modelKey },
    stdio: ["ignore", "pipe", "inherit"],
  });
  parts.defer(() => ended(child, () => child.kill()));
  const [line] = await within(once(createInterface({ input: child.stdout }), "line"), {
    what: "the model listens",
  });
  const url = /http:\S+/.exec(String(line))?.[0];
  if (url === undefined) throw new Error(`The scripted model said: ${line}`);
  return url;
};

/** What a session on a bare runtime needs, and one through Squadron does not. */
export const bareProvider = (modelUrl: string): ProviderConfig => ({
  type: "openai",
  baseUrl: modelUrl,
  apiKey: modelKey,
});
