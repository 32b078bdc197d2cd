import { SquadronError } from "../../kernel/errors.ts";

/** Longest tenant, user or name, in UTF-16 units. */
const maxLength = 300;

/**
 * Can the database hold this text so that it comes back the same and equals no other? A lone surrogate would become U+FFFD,
 * and two users would be one.
 */
export const isStorable = (...texts: readonly string[]): boolean =>
  texts.every((text) => text.length > 0 && text.length <= maxLength && text.isWellFormed());

/** Throws `invalid_request` when a tenant, user or name cannot be stored as it is. */
export const assertStorable = (...texts: readonly string[]): void => {
  if (isStorable(...texts)) return;
  throw new SquadronError(
    "invalid_request",
    `A tenant, user or session name must have 1 to ${maxLength} characters of well-formed Unicode.`,
  );
};
