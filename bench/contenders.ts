import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { CopilotClient, type ProviderConfig, RuntimeConnection } from "@github/copilot-sdk";
import { startBareRuntime, stdioClient } from "../test/support/bare-runtime.ts";
import { tempDir } from "../test/support/temp.ts";
import { modelKey, users } from "../test/support/test-node.ts";
import { within } from "../test/support/wait.ts";
import { childrenOf } from "./processes.ts";

export const contenderNames = ["squadron", "tcp", "stdio"] as const;
export type ContenderName = (typeof contenderNames)[number];

/** One way to reach a runtime with an unmodified SDK client. */
export interface Contender {
  readonly name: ContenderName;
  readonly client: CopilotClient;
  /** What a session needs beside the common parameters. */
  readonly provider: ProviderConfig | undefined;
  readonly gatewayPid: number | undefined;
  /** Known once there has been a session. */
  runtimePid(): number;
}

const only = (pids: readonly number[]): number => {
  const [pid, ...others] = pids;
  if (pid === undefined || others.length > 0)
    throw new Error(`One runtime was expected, there are ${pids.length}.`);
  return pid;
};

const ended = async (child: ChildProcess, end: () => void): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  end();
  await exited;
};

/** The scripted model in a process of its own; its base URL. */
const startModel = async (parts: AsyncDisposableStack): Promise<string> => {
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

const startSquadron = async (
  parts: AsyncDisposableStack,
  modelUrl: string,
  profileDirectory: string | undefined,
): Promise<Contender> => {
  const directory = parts.use(await tempDir("bench"));
  const child = fork(fileURLToPath(new URL("node-process.ts", import.meta.url)), {
    env: { ...process.env, BENCH_DIRECTORY: directory.path, BENCH_MODEL_URL: modelUrl },
    execArgv: profileDirectory === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profileDirectory}`],
  });
  parts.defer(() => ended(child, () => child.disconnect()));
  const [message] = await within(once(child, "message"), { what: "the node is up", deadlineMs: 20_000 });
  const pid = child.pid ?? 0;
  const client = new CopilotClient({
    mode: "empty",
    connection: RuntimeConnection.forUri(`127.0.0.1:${message.port}`, { connectionToken: users.alice.key }),
  });
  parts.defer(() => client.forceStop());
  return {
    name: "squadron",
    client,
    provider: undefined,
    gatewayPid: pid,
    runtimePid: () => only(childrenOf(pid)),
  };
};

/**
 * Starts all that is compared: the same model, the same SDK, the same runtime. What has been started is ended with
 * `parts`. With `profileDirectory` the node writes its processor profile there when it ends.
 */
export const startContenders = async (
  parts: AsyncDisposableStack,
  { profileDirectory }: { readonly profileDirectory: string | undefined },
): Promise<Readonly<Record<ContenderName, Contender>>> => {
  const modelUrl = await startModel(parts);
  const provider: ProviderConfig = { type: "openai", baseUrl: modelUrl, apiKey: modelKey };
  const squadron = await startSquadron(parts, modelUrl, profileDirectory);

  const bare = parts.use(await startBareRuntime());
  const tcpClient = bare.bareClient({ mode: "empty" });
  parts.defer(() => tcpClient.forceStop());

  const home = parts.use(await tempDir("bench-stdio"));
  const before = new Set(childrenOf(process.pid));
  const pipeClient = stdioClient(home.path, { mode: "empty" });
  parts.defer(() => pipeClient.forceStop());
  await pipeClient.start();
  const pipePid = only(childrenOf(process.pid).filter((pid) => !before.has(pid)));

  return {
    squadron,
    tcp: { name: "tcp", client: tcpClient, provider, gatewayPid: undefined, runtimePid: () => bare.pid },
    stdio: { name: "stdio", client: pipeClient, provider, gatewayPid: undefined, runtimePid: () => pipePid },
  };
};
