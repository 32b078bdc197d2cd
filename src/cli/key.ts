import { Command, Option } from "commander";
import type { Role } from "../kernel/principal.ts";
import { withKeyDoor } from "./key-door.ts";
import { type NodeOptions, nodeCommand } from "./node-client.ts";
import { ago, plain, print, printJson, styled, table } from "./terminal.ts";
import { wholeNumber } from "./whole-number.ts";

interface KeyOptions extends NodeOptions {
  readonly json?: true;
}

interface CreateOptions extends KeyOptions {
  readonly tenant: string;
  readonly user: string;
  readonly role: readonly Role[];
  readonly label: string;
}

const create = async ({ tenant, user, role, label, json, ...options }: CreateOptions): Promise<void> => {
  const made = await withKeyDoor(options, (door) => door.create({ tenant, user, roles: role, label }));
  if (json) return printJson(made);
  print(
    `Key ${made.id} for ${plain(made.user)} of ${plain(made.tenant)} (${made.roles.join(", ")}), shown this once:`,
  );
  print(styled("bold", made.key));
};

const list = async ({
  tenant,
  limit,
  json,
  ...options
}: KeyOptions & { tenant?: string; limit: number }): Promise<void> => {
  const keys = await withKeyDoor(options, (door) =>
    door.list({ limit, ...(tenant !== undefined && { tenant }) }),
  );
  if (json) return printJson(keys);
  if (keys.length === 0)
    return print("There are no keys in the store; those of the configuration are not listed.");
  const rows = keys.map((key) => [
    key.id,
    plain(key.tenant),
    plain(key.user),
    key.roles.join(", "),
    ago(key.createdAt),
    key.revokedAt === null ? ago(key.lastUsedAt) : styled("red", "revoked"),
    plain(key.label),
  ]);
  print(table(["KEY", "TENANT", "USER", "ROLES", "CREATED", "USED", "LABEL"], rows));
};

const revoke = async (id: string, { json, ...options }: KeyOptions): Promise<void> => {
  await withKeyDoor(options, (door) => door.revoke(id));
  if (json) printJson({ id, revoked: true });
  else print(`${plain(id)} is revoked and refused from now on.`);
};

const roleOption = (): Option =>
  new Option("-r, --role <role...>", "what its owner may do")
    .choices(["user", "tenant-admin", "admin"])
    .default(["user"]);

export const keyCommand = (): Command =>
  new Command("key")
    .description(
      "keys of users and operators, in a node's store (needs the role admin, or tenant-admin for one's tenant)",
    )
    .addHelpText(
      "after",
      "\nWithout --url and with no node running, these work on the store of this directory's configuration: so a first key can be made.",
    )
    .addCommand(
      nodeCommand("create")
        .description("make a key and print it, this once")
        .requiredOption("-t, --tenant <tenant>", "whose user")
        .requiredOption("--user <user>", "who will use it")
        .addOption(roleOption())
        .option("-l, --label <label>", "what it is for", "")
        .action(create),
    )
    .addCommand(
      nodeCommand("list")
        .description("the keys in the store, newest first")
        .option("-t, --tenant <tenant>", "only this tenant's")
        .option("-n, --limit <count>", "how many at most", wholeNumber(1, 1000), 100)
        .action(list),
    )
    .addCommand(
      nodeCommand("revoke")
        .description("refuse a key from now on")
        .argument("<id>", "the key's id, key_…")
        .action(revoke),
    );
