import type { Command } from "commander";
import { type Session, sessionPage } from "./answers.ts";
import { type NodeClient, type NodeOptions, nodeClient, nodeCommand } from "./node-client.ts";
import { exportCommand, importCommand } from "./sessions-archive.ts";
import { pruneCommand } from "./sessions-prune.ts";
import { ago, note, plain, print, printJson, readableBytes, table } from "./terminal.ts";
import { wholeNumber } from "./whole-number.ts";

const pageSize = 200;

interface SessionsOptions extends NodeOptions {
  readonly tenant?: string;
  readonly limit: number;
  readonly json?: true;
}

/** The newest sessions, at most `limit`, and whether there are more. */
const newest = async (
  node: NodeClient,
  { tenant, limit }: Pick<SessionsOptions, "tenant" | "limit">,
): Promise<{ readonly sessions: readonly Session[]; readonly more: boolean }> => {
  const sessions: Session[] = [];
  for (let cursor: string | undefined; ; ) {
    const query = new URLSearchParams({
      limit: String(Math.min(pageSize, limit - sessions.length)),
      ...(tenant !== undefined && { tenant }),
      ...(cursor !== undefined && { cursor }),
    });
    const page = await node.call("GET", `/v1/admin/sessions?${query}`, sessionPage);
    sessions.push(...page.sessions);
    cursor = page.next;
    if (cursor === undefined || sessions.length >= limit) return { sessions, more: cursor !== undefined };
  }
};

const listSessions = async ({ tenant, limit, json, ...options }: SessionsOptions): Promise<void> => {
  const { sessions, more } = await newest(await nodeClient(options), {
    limit,
    ...(tenant !== undefined && { tenant }),
  });
  if (json) printJson(sessions);
  else if (sessions.length === 0) print("There are no sessions.");
  else {
    const rows = sessions.map((session) => [
      session.id,
      plain(session.tenant),
      plain(session.owner),
      session.busy ? "busy" : session.state,
      session.isolation,
      ago(session.lastUsedAt),
      readableBytes(session.sizeBytes),
      `${session.usage.inputTokens} / ${session.usage.outputTokens}`,
      plain(session.model ?? ""),
    ]);
    print(
      table(
        ["SESSION", "TENANT", "OWNER", "STATE", "ISOLATION", "USED", "SIZE", "TOKENS IN / OUT", "MODEL"],
        rows,
      ),
    );
  }
  if (more) note(`There are more; --limit shows other than the newest ${limit}.`);
};

export const sessionsCommand = (): Command =>
  nodeCommand("sessions")
    .description(
      "everybody's sessions, without their content (needs the role admin, or tenant-admin for one's tenant)",
    )
    .option("-t, --tenant <tenant>", "only this tenant's")
    .option("-n, --limit <count>", "how many at most", wholeNumber(1, 100_000), 100)
    .enablePositionalOptions()
    .action(listSessions)
    .addCommand(pruneCommand())
    .addCommand(importCommand())
    .addCommand(exportCommand());
