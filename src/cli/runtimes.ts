import type { Command } from "commander";
import { runtimes } from "./answers.ts";
import { type NodeOptions, nodeClient, nodeCommand } from "./node-client.ts";
import { ago, plain, print, printJson, table } from "./terminal.ts";

const mebibytes = (bytes: number | undefined): string =>
  bytes === undefined ? "?" : `${(bytes / 2 ** 20).toFixed(0)} MiB`;

const listRuntimes = async ({ json, ...options }: NodeOptions & { json?: true }): Promise<void> => {
  const answer = await (await nodeClient(options)).call("GET", "/v1/admin/runtimes", runtimes);
  if (json) return printJson(answer.runtimes);
  if (answer.runtimes.length === 0) return print("No runtime is running; the next message starts one.");
  const rows = answer.runtimes.map((runtime) => [
    runtime.id,
    runtime.isolation ?? "",
    runtime.reason === undefined ? runtime.state : `${runtime.state}: ${runtime.reason}`,
    String(runtime.pid ?? "?"),
    ago(runtime.startedAt),
    String(runtime.turns),
    mebibytes(runtime.memoryBytes),
    runtime.cpuSeconds === undefined ? "?" : `${runtime.cpuSeconds.toFixed(1)} s`,
    plain(runtime.unitKey ?? ""),
  ]);
  print(table(["RUNTIME", "ISOLATION", "STATE", "PID", "STARTED", "TURNS", "MEMORY", "CPU", "UNIT"], rows));
};

export const runtimesCommand = (): Command =>
  nodeCommand("runtimes")
    .description("the runtime processes of a node (needs the role admin)")
    .action(listRuntimes);
