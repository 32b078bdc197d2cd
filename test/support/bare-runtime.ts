import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { CopilotClient, type CopilotClientOptions, RuntimeConnection } from "@github/copilot-sdk";
import { newUuid } from "../../src/kernel/ids.ts";
import { tempDir } from "./temp.ts";
import { within } from "./wait.ts";

const startDeadlineMs = 20_000;
const keptErrorText = 4_000;

/** The runtime's executable in the platform package that the installed SDK brings along. */
export const runtimeBinary = (): string => {
  const sdk = join(dirname(fileURLToPath(import.meta.resolve("@github/copilot-sdk"))), "..");
  const manifest: { optionalDependencies: Record<string, string> } = JSON.parse(
    readFileSync(join(sdk, "package.json"), "utf8"),
  );
  const resolve = createRequire(join(sdk, "package.json")).resolve;
  const executable = process.platform === "win32" ? "copilot-runtime.exe" : "copilot-runtime";
  for (const name of Object.keys(manifest.optionalDependencies)) {
    const platform = name.replace("@github/copilot-sdk-", "");
    if (!platform.endsWith(`-${process.arch}`)) continue;
    try {
      const path = join(dirname(resolve(`${name}/package.json`)), "prebuilds", platform, executable);
      if (existsSync(path)) return path;
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "MODULE_NOT_FOUND")) throw error;
    }
  }
  throw new Error("No platform package of @github/copilot-sdk is installed.");
};

/** An environment in which a runtime finds nothing of this machine's user. */
export const cleanEnvironment = (home: string): Record<string, string> => ({
  COPILOT_HOME: home,
  COPILOT_DISABLE_KEYTAR: "1",
  HOME: home,
  PATH: process.env.PATH ?? "",
});

export interface BareOptions {
  /** Added to the clean environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
}

type ClientOptions = Omit<CopilotClientOptions, "connection">;

/** A runtime on its own, as the guide runs it: the measure that everything is compared with. */
export interface BareRuntime extends AsyncDisposable {
  readonly port: number;
  readonly token: string;
  readonly pid: number;
  /** Its COPILOT_HOME. */
  readonly home: string;
  /** A client of the unmodified official SDK, connected over TCP. Stopping it is the caller's. */
  bareClient(options?: ClientOptions): CopilotClient;
  /** Kills the runtime and removes its home. */
  stop(): Promise<void>;
}

/** Starts a bare runtime on a free TCP port. Rejects with the end of its error output when it does not come up. */
export const startBareRuntime = async (options: BareOptions = {}): Promise<BareRuntime> => {
  const home = await tempDir("bare");
  const token = newUuid();
  const child = spawn(
    runtimeBinary(),
    ["--headless", "--no-auto-update", "--no-auto-login", ...(options.args ?? [])],
    {
      cwd: home.path,
      env: { ...cleanEnvironment(home.path), COPILOT_CONNECTION_TOKEN: token, ...options.env },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  const exited = once(child, "exit");
  // A worker that ends without its cleanup must not leave a runtime behind.
  const killNow = () => child.kill("SIGKILL");
  process.once("exit", killNow);
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-keptErrorText);
  });
  const stop = async () => {
    killNow();
    await exited;
    process.off("exit", killNow);
    await home.remove();
  };
  const listening = new Promise<number>((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const port = /listening on port (\d+)/.exec(line)?.[1];
      if (port) resolve(Number(port));
    });
    exited.then(() => reject(new Error(`The bare runtime ended before it listened: ${errors}`)), reject);
  });
  try {
    const port = await within(listening, { what: "the bare runtime listens", deadlineMs: startDeadlineMs });
    return {
      port,
      token,
      pid: child.pid ?? 0,
      home: home.path,
      bareClient: (clientOptions = {}) =>
        new CopilotClient({
          ...clientOptions,
          connection: RuntimeConnection.forUri(`127.0.0.1:${port}`, { connectionToken: token }),
        }),
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
};

/** A client of the unmodified official SDK that spawns its own runtime over stdio, with state in `home`. */
export const stdioClient = (home: string, options: ClientOptions & BareOptions = {}): CopilotClient => {
  const { env, args, ...clientOptions } = options;
  return new CopilotClient({
    useLoggedInUser: false,
    baseDirectory: home,
    workingDirectory: home,
    ...clientOptions,
    connection: RuntimeConnection.forStdio({
      path: runtimeBinary(),
      env: { ...cleanEnvironment(home), ...env },
      ...(args && { args: [...args] }),
    }),
  });
};
