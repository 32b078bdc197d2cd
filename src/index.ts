export { Squadron, type SquadronUser } from "./embed.ts";
export type { SquadronOptions } from "./embed-options.ts";
export { type ErrorCode, SquadronError } from "./kernel/errors.ts";
