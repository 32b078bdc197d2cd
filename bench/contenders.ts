import type { CopilotClient, ProviderConfig } from "@github/copilot-sdk";
import { startBareRuntime, stdioClient } from "../test/support/bare-runtime.ts";
import { tempDir } from "../test/support/temp.ts";
import { childrenOf } from "./processes.ts";
import { bareProvider } from "./programs.ts";
import { startNodeProcess } from "./squadron.ts";

export const contenderNames = ["squadron", "tcp", "stdio"] as const;
export type ContenderName = (typeof contenderNames)[number];
export type PerContender<T> = Readonly<Record<ContenderName, T>>;

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
export type Contenders = PerContender<Contender>;

export const forEachContender = async <T>(
  contenders: Contenders,
  run: (contender: Contender) => Promise<T>,
): Promise<PerContender<T>> => ({
  squadron: await run(contenders.squadron),
  tcp: await run(contenders.tcp),
  stdio: await run(contenders.stdio),
});

const only = (pids: readonly number[]): number => {
  const [pid, ...others] = pids;
  if (pid === undefined || others.length > 0)
    throw new Error(`One runtime was expected, there are ${pids.length}.`);
  return pid;
};

/** A client with a bare runtime of its own over stdio, whose state lies in `home`, and that runtime's process. */
export const startOverStdio = async (
  parts: AsyncDisposableStack,
  home: string,
): Promise<{ readonly client: CopilotClient; readonly pid: number }> => {
  const before = new Set(childrenOf(process.pid));
  const client = stdioClient(home, { mode: "empty" });
  parts.defer(() => client.forceStop());
  await client.start();
  return { client, pid: only(childrenOf(process.pid).filter((pid) => !before.has(pid))) };
};

/**
 * Starts all that is compared: the same model, the same SDK, the same runtime. What has been started is ended with
 * `parts`.
 */
export const startContenders = async (
  parts: AsyncDisposableStack,
  modelUrl: string,
  profileDirectory: string | undefined,
): Promise<Contenders> => {
  const directory = parts.use(await tempDir("bench"));
  const settings = { directory: directory.path, modelUrl, isolation: "user", users: 1 } as const;
  const node = await startNodeProcess(parts, settings, profileDirectory);
  const bare = parts.use(await startBareRuntime());
  const tcpClient = bare.bareClient({ mode: "empty" });
  parts.defer(() => tcpClient.forceStop());
  const home = parts.use(await tempDir("bench-stdio"));
  const stdio = await startOverStdio(parts, home.path);
  const provider = bareProvider(modelUrl);
  return {
    squadron: {
      name: "squadron",
      client: node.client(),
      provider: undefined,
      gatewayPid: node.pid,
      runtimePid: () => only(childrenOf(node.pid)),
    },
    tcp: { name: "tcp", client: tcpClient, provider, gatewayPid: undefined, runtimePid: () => bare.pid },
    stdio: {
      name: "stdio",
      client: stdio.client,
      provider,
      gatewayPid: undefined,
      runtimePid: () => stdio.pid,
    },
  };
};
