import { opendir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { SquadronError } from "../kernel/errors.ts";
import { logPath } from "./history-ids.ts";
import { type Imported, type ImportOptions, importSession } from "./session-archive.ts";

export type ImportOutcome =
  | { readonly kind: "imported"; readonly directory: string; readonly imported: Imported }
  | { readonly kind: "skipped"; readonly directory: string; readonly error: SquadronError };

/** A directory that nobody has so many sessions in. */
const maxSessions = 100_000;

/** What is wrong with one session, and not with all. */
const ofOneSession = new Set(["invalid_request", "name_taken", "too_large", "unprocessable"]);

const isSession = (directory: string): Promise<boolean> =>
  stat(join(directory, logPath)).then(
    (found) => found.isFile(),
    () => false,
  );

const sessionsIn = async (directory: string): Promise<readonly string[]> => {
  const found: string[] = [];
  for await (const entry of await opendir(directory)) {
    // A link may lead anywhere.
    if (entry.isDirectory()) found.push(entry.name);
    if (found.length > maxSessions)
      throw new SquadronError("too_large", `${directory} holds more than ${maxSessions} directories.`, {
        details: { limit: maxSessions },
      });
  }
  return found.sort().map((name) => join(directory, name));
};

/**
 * Imports one after the other what lies in the `session-state` of a bare runtime, or the one session that the directory
 * is itself; each is told when it is done, and whoever asks for no more stops it. A session that cannot be taken is
 * skipped and told: its name is taken, it is too large, it cannot be read, or the directory holds none. Rejects with
 * `invalid_request` when there is no such directory or nothing in it, `too_large` when it holds too many, `store_unavailable`.
 */
export async function* importSessions(options: Omit<ImportOptions, "name">): AsyncGenerator<ImportOutcome> {
  const top = await realpath(options.directory).catch((cause: unknown) => {
    throw new SquadronError("invalid_request", `There is no directory ${options.directory}.`, { cause });
  });
  const sessions = (await isSession(top)) ? [top] : await sessionsIn(top);
  if (sessions.length === 0)
    throw new SquadronError(
      "invalid_request",
      `${options.directory} holds no session. Name a directory such as ~/.copilot/session-state, or one in it.`,
    );
  for (const directory of sessions) {
    try {
      yield { kind: "imported", directory, imported: await importSession({ ...options, directory }) };
    } catch (error) {
      if (!(error instanceof SquadronError && ofOneSession.has(error.code))) throw error;
      yield { kind: "skipped", directory, error };
    }
  }
}
