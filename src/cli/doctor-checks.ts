import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Config } from "../config/config.ts";
import { findLauncher } from "../fleet/box.ts";
import { runtimeExecutable } from "../fleet/executable.ts";
import { createFleet } from "../fleet/fleet.ts";
import { systemClock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import { openStore } from "../store/open-store.ts";
import { isStateLocked } from "../store/state-lock.ts";
import { createLog } from "../telemetry/log.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import { configFile, readConfig } from "./configuration.ts";
import { checkModels } from "./doctor-models.ts";
import { checkSandbox } from "./doctor-sandbox.ts";
import type { Finding } from "./finding.ts";
import { isFree } from "./free-port.ts";
import { nodeProblem } from "./node-version.ts";

/** A check that throws has failed: its name, and what helps. */
const attempt = async (name: string, advice: string, check: () => Promise<string>): Promise<Finding> => {
  try {
    return { name, state: "ok", message: await check() };
  } catch (error) {
    return { name, state: "fail", message: messageOf(error), advice };
  }
};

/** The first cause that is told to operators, not the sentence that clients get. */
const messageOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  const hidden =
    error instanceof SquadronError && error.code === "runtime_start_failed" && error.cause !== undefined;
  return hidden ? messageOf(error.cause) : error.message;
};

/** Looks at everything that a node with this configuration needs, from the ground up; stops if there is no configuration. */
export async function* examine(given: string | undefined): AsyncGenerator<Finding> {
  const problem = nodeProblem(process.versions.node);
  yield problem === undefined
    ? { name: "node", state: "ok", message: `Node ${process.versions.node}` }
    : { name: "node", state: "fail", message: problem };

  let config: Config;
  try {
    config = await readConfig(given);
  } catch (error) {
    yield {
      name: "configuration",
      state: "fail",
      message: messageOf(error),
      advice: "Correct these; `squadron config check` looks at the configuration alone.",
    };
    return;
  }
  yield {
    name: "configuration",
    state: "ok",
    message: configFile(given) ?? "none: the defaults and the environment",
  };

  yield checkLauncher();
  yield* checkSandbox(config);
  const executable = await attempt(
    "runtime",
    "Reinstall @github/copilot-sdk with its optional dependencies, or set runtimes.command.",
    async () => runtimeExecutable(config.runtimes.command),
  );
  yield executable;
  if (executable.state === "ok") yield await checkStart(config);
  yield await checkPort("sdk", config.sdk);
  yield await checkPort("http", config.http);
  yield await attempt(
    "store",
    "Set store.url to a file that this user can write, on a local disk.",
    async () => {
      const store = await openStore(config.store.url);
      try {
        await store.ping();
      } finally {
        await store.close();
      }
      return `${config.store.url} opens and can be written`;
    },
  );
  yield await checkState(config.state.path);
  yield* checkModels(config);
}

const checkLauncher = (): Finding =>
  findLauncher().length > 0
    ? { name: "setpriv", state: "ok", message: "runtimes end with the node, however it ends" }
    : {
        name: "setpriv",
        state: "warn",
        message: "not here: a runtime with a running shell can outlive a node that is killed",
        advice: "Install util-linux, if this system has it.",
      };

/** Starts a runtime in a directory of its own, as the node would, and ends it again. */
const checkStart = async ({ runtimes }: Config): Promise<Finding> => {
  const statePath = await mkdtemp(join(tmpdir(), "squadron-doctor-"));
  const advice = "Run the command above by hand to see why; runtimes.env and runtimes.args go to it.";
  try {
    return await attempt("runtime start", advice, async () => {
      const fleet = createFleet({
        // One start is what is tried.
        config: { ...runtimes, spares: 0 },
        statePath,
        clock: systemClock,
        log: createLog({ level: "silent" }),
        metrics: createMetrics(),
        serve: () => ({
          request: async () => {
            throw new SquadronError("method_unknown", "Nobody serves this runtime.");
          },
          notification: () => undefined,
        }),
      });
      try {
        const began = performance.now();
        const { version } = await fleet.runtimeFor({ isolation: "shared", key: "doctor" });
        return `version ${version}, ready after ${Math.round(performance.now() - began)} ms`;
      } finally {
        await fleet.close();
      }
    });
  } finally {
    await rm(statePath, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  }
};

const checkState = async (path: string): Promise<Finding> => {
  const name = "state directory";
  const usable = await attempt(name, "Set state.path to a directory that this user can write.", async () => {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await rm(await mkdtemp(join(path, ".doctor-")), { recursive: true });
    return (await isStateLocked(path)) ? "" : `${path} can be written`;
  });
  if (usable.message !== "") return usable;
  return {
    name,
    state: "warn",
    message: `a node runs on ${path}`,
    advice: "A second one would not start: give it its own state.path and store.url.",
  };
};

const checkPort = async (
  door: "sdk" | "http",
  { host, port }: { host: string; port: number },
): Promise<Finding> => {
  const name = `${door} port`;
  const advice = `Set ${door}.host to an address of this host, and ${door}.port to one that this user may take.`;
  const free = await attempt(name, advice, async () =>
    (await isFree(host, port)) ? `${host}:${port} is free` : "",
  );
  if (free.state !== "ok" || free.message !== "") return free;
  return {
    name,
    state: "fail",
    message: `${host}:${port} is taken`,
    advice: `By a node that runs already (squadron status), or by another program: then set ${door}.port.`,
  };
};
