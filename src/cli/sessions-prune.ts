import { type Command, InvalidArgumentError } from "commander";
import { durationForm, parseDuration } from "../kernel/units.ts";
import { pruned } from "./answers.ts";
import { type NodeOptions, nodeClient, nodeCommand } from "./node-client.ts";
import { ago, note, plain, print, printJson, readableBytes, table } from "./terminal.ts";
import { wholeNumber } from "./whole-number.ts";

interface PruneOptions extends NodeOptions {
  readonly dryRun?: true;
  readonly tenant?: string;
  readonly unusedFor?: string;
  readonly limit: number;
  readonly json?: true;
}

const duration = (text: string): string => {
  if (parseDuration(text) === undefined) throw new InvalidArgumentError(`Expected ${durationForm}.`);
  return text;
};

const prune = async ({ dryRun, tenant, unusedFor, limit, json, ...options }: PruneOptions): Promise<void> => {
  const node = await nodeClient(options);
  const body = {
    dryRun: dryRun === true,
    limit,
    ...(tenant !== undefined && { tenant }),
    ...(unusedFor !== undefined && { unusedFor }),
  };
  const { sessions, inUse, failed, more } = await node.call("POST", "/v1/admin/sessions/prune", pruned, {
    body,
  });
  if (json) printJson({ sessions, inUse, failed, more });
  else {
    const rows = sessions.map((session) => [
      session.id,
      plain(session.tenant),
      plain(session.owner),
      ago(session.lastUsedAt),
      readableBytes(session.sizeBytes),
    ]);
    if (rows.length > 0) print(table(["SESSION", "TENANT", "OWNER", "USED", "SIZE"], rows));
    const what =
      sessions.length === 1 ? "1 session" : `${sessions.length === 0 ? "No" : sessions.length} sessions`;
    print(`${what} ${dryRun ? "would be deleted" : "deleted"}.`);
  }
  if (inUse > 0) note(`${inUse} are in use and stay.`);
  if (failed > 0) note(`${failed} could not be deleted; the node's log says why.`);
  if (more) note(`There are more; ${dryRun ? "--limit shows" : "run it again, or --limit takes"} more.`);
};

export const pruneCommand = (): Command =>
  nodeCommand("prune")
    .description("delete sessions that are past their time to live, or unused for as long as you say")
    .option("--dry-run", "only show which")
    .option("-t, --tenant <tenant>", "only this tenant's")
    .option(
      "--unused-for <duration>",
      "instead of the tenants' times, such as 30d; a session's own time counts in any case",
      duration,
    )
    .option("-n, --limit <count>", "how many at most", wholeNumber(1, 500), 100)
    .action(prune);
