import { Command, InvalidArgumentError } from "commander";
import { type Config, policyOf } from "../config/config.ts";
import { isPrincipalName, principalNameForm } from "../config/principal-name.ts";
import { systemClock } from "../kernel/clock.ts";
import { fileBoundsOf } from "../sessions/file-bounds.ts";
import { importSessions } from "../sessions/import-all.ts";
import {
  type ArchiveOwner,
  exportSession,
  type Imported,
  importSession,
} from "../sessions/session-archive.ts";
import { openStore } from "../store/open-store.ts";
import { lockState } from "../store/state-lock.ts";
import type { Store } from "../store/store.ts";
import { configOption, readConfig } from "./configuration.ts";
import { exitCodes } from "./failure.ts";
import { plain, print, printJson, readableBytes } from "./terminal.ts";

interface ArchiveOptions {
  readonly config?: string;
  readonly tenant: string;
  readonly user: string;
  readonly json?: true;
}

/** In whose name an operator's work on the store itself is audited. */
const operator = "squadron";

const withStore = async <T>(config: Config, use: (store: Store) => Promise<T>): Promise<T> => {
  const store = await openStore(config.store.url);
  try {
    return await use(store);
  } finally {
    await store.close();
  }
};

const audited = (store: Store, { tenant }: ArchiveOwner, action: string, target: string): Promise<void> =>
  store.audit.append({
    at: systemClock.now(),
    tenant,
    user: operator,
    action,
    target,
    outcome: "ok",
    detail: null,
  });

const take = async (
  directory: string,
  { name, config: file, json, tenant, user }: ArchiveOptions & { readonly name?: string },
): Promise<void> => {
  const config = await readConfig(file);
  const policy = policyOf(config, tenant);
  const owner = { tenant, user };
  // Else its user could already go on with a session of which only the name is there yet.
  const lock = await lockState(config.state.path);
  try {
    const { imported, skipped } = await withStore(config, async (store) => {
      const options = {
        store,
        clock: systemClock,
        directory,
        owner,
        isolation: policy.isolation,
        bounds: fileBoundsOf(policy),
      };
      const imported: Imported[] = [];
      const skipped: { directory: string; reason: string }[] = [];
      const took = async (one: Imported): Promise<void> => {
        imported.push(one);
        await audited(store, owner, "session.import", one.session.publicId);
      };
      if (name !== undefined) await took(await importSession({ ...options, name }));
      else
        for await (const outcome of importSessions(options)) {
          if (outcome.kind === "imported") await took(outcome.imported);
          else skipped.push({ directory: outcome.directory, reason: outcome.error.message });
        }
      return { imported, skipped };
    });
    if (json)
      printJson({
        imported: imported.map(({ session, name, files, sizeBytes }) => ({
          id: session.publicId,
          name,
          title: session.title,
          files,
          sizeBytes,
        })),
        skipped,
      });
    else {
      for (const { session, name, files, sizeBytes } of imported)
        print(
          `${session.publicId}: ${plain(user)} of ${plain(tenant)} resumes it as ${plain(name)}; ${files} files, ${readableBytes(sizeBytes)}`,
        );
      for (const { directory, reason } of skipped) print(`Skipped ${plain(directory)}: ${plain(reason)}`);
      if (imported.length > 0) print("Do not go on there: two that continue one history are two histories.");
    }
    if (imported.length === 0) process.exitCode = exitCodes.failed;
  } finally {
    await lock.release();
  }
};

const give = async (
  session: string,
  {
    to,
    as,
    config: file,
    json,
    tenant,
    user,
  }: ArchiveOptions & { readonly to: string; readonly as?: string },
): Promise<void> => {
  const owner = { tenant, user };
  const given = await withStore(await readConfig(file), async (store) => {
    const exported = await exportSession({ store, owner, session, to, ...(as !== undefined && { id: as }) });
    await audited(store, owner, "session.export", exported.publicId);
    return exported;
  });
  if (json) return printJson(given);
  print(`${plain(given.directory)}: ${given.files} files`);
  print(`A runtime whose session-state is ${plain(to)} resumes it as ${given.id}.`);
};

const principalName = (text: string): string => {
  if (!isPrincipalName(text)) throw new InvalidArgumentError(`Expected ${principalNameForm}.`);
  return text;
};

const sessionName = (text: string): string => {
  if (text === "" || text.length > 200) throw new InvalidArgumentError("Expected 1 to 200 characters.");
  return text;
};

const archiveCommand = (name: string): Command =>
  new Command(name)
    .addOption(configOption())
    .requiredOption("-t, --tenant <tenant>", "whose user", principalName)
    .requiredOption("--user <user>", "whose session", principalName)
    .option("--json", "print JSON");

export const importCommand = (): Command =>
  archiveCommand("import")
    .description("take sessions of a bare runtime into the store of the configuration; no node may run on it")
    .argument("<directory>", "~/.copilot/session-state for all of them, or the directory of one in it")
    .option("--name <name>", "of one session: what its user calls it (default: its old id)", sessionName)
    .action(take);

export const exportCommand = (): Command =>
  archiveCommand("export")
    .description("write a session, as it was last stored, for a bare runtime to go on with")
    .argument("<session>", "its user's name for it, or its id, ses_…")
    .requiredOption("--to <directory>", "the session-state of the runtime, such as ~/.copilot/session-state")
    .option("--as <id>", "its id there (default: its name if that can be one, else a new one)")
    .action(give);
