import type { File, FilePolicy } from "./config/schema.ts";
import type { Secret } from "./kernel/secret.ts";

/** What a key of the file is read from: secrets are plain text, durations and sizes are text with a unit (`5m`, `64MiB`). */
type Written<Value> = Value extends Secret
  ? string
  : Value extends number
    ? number | string
    : Value extends readonly (infer Item)[]
      ? readonly Written<Item>[]
      : Value extends object
        ? { readonly [Key in keyof Value]?: Written<Value[Key]> }
        : Value;

/** Everything that `squadron.yaml` may say, in its shape; what is absent has its default. */
export type SquadronOptions = Written<Omit<File, "tenants">> & {
  readonly tenants?: Readonly<Record<string, Written<FilePolicy>>>;
};
