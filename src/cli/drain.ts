import type { Command } from "commander";
import { z } from "zod";
import { type NodeOptions, nodeClient, nodeCommand } from "./node-client.ts";
import { print, printJson } from "./terminal.ts";

const answer = z.object({ runningTurns: z.int(), withinMs: z.int() });

const drain = async ({ json, ...options }: NodeOptions & { readonly json?: true }): Promise<void> => {
  const node = await nodeClient(options);
  const draining = await node.call("POST", "/v1/admin/drain", answer);
  if (json) printJson(draining);
  else
    print(
      `The node takes nothing new. ${draining.runningTurns} running turns may end within ${draining.withinMs / 1000} s, then it closes.`,
    );
};

export const drainCommand = (): Command =>
  nodeCommand("drain")
    .description("let a node end its running turns, take nothing new, and close (needs the role admin)")
    .action(drain);
