import type { Command } from "commander";
import { me, readiness, runtimes } from "./answers.ts";
import { CommandFailure, exitCodes } from "./failure.ts";
import { type NodeOptions, nodeClient, nodeCommand } from "./node-client.ts";
import { plain, print, printJson, styled } from "./terminal.ts";

const unavailable = 503;

const countByState = (states: readonly string[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const state of states) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
};

const status = async ({ json, ...options }: NodeOptions & { json?: true }): Promise<void> => {
  const node = await nodeClient(options);
  const ready = await node.call("GET", "/readyz", readiness, { accept: [unavailable] });
  const isReady = ready.status === "ok";
  const detail = "detail" in ready ? plain(String(ready.detail)) : undefined;
  const who = options.key === undefined ? undefined : await node.call("GET", "/v1/me", me);
  const fleet = who?.roles.includes("admin")
    ? countByState(
        (await node.call("GET", "/v1/admin/runtimes", runtimes)).runtimes.map(({ state }) => state),
      )
    : undefined;
  if (json) {
    printJson({
      url: node.url,
      ready: isReady,
      ...(detail !== undefined && { detail }),
      ...(who && { me: who }),
      ...(fleet && { runtimes: fleet }),
    });
  } else {
    const line = (name: string, value: string) => print(`${styled("dim", name.padEnd(10))}${value}`);
    line("node", node.url);
    line("state", isReady ? styled("green", "ready") : `${styled("red", "not ready")}: ${detail ?? ""}`);
    if (who) line("you", `${plain(who.user)} of ${plain(who.tenant)} (${who.roles.join(", ")})`);
    else line("you", "no key given: SQUADRON_KEY or --key shows more");
    if (fleet) {
      const counts = Object.entries(fleet).map(([state, count]) => `${count} ${state}`);
      line("runtimes", counts.length > 0 ? counts.join(", ") : "none running");
    }
  }
  if (!isReady) throw new CommandFailure(exitCodes.failed, "The node is not ready.");
};

export const statusCommand = (): Command =>
  nodeCommand("status")
    .description("is the node ready, who are you there, what runs; exits with 1 when it is not ready")
    .action(status);
