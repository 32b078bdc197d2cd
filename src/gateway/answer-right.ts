import type { SessionRole } from "../store/store.ts";
import type { User } from "./request-vocabulary.ts";

export const isSameUser = (one: User | undefined, other: User): boolean =>
  one !== undefined && one.tenant === other.tenant && one.user === other.user;

/**
 * Who answers what a runtime asks: the user whose message is being answered, unless it may only read by now, and the
 * session's owners. `role`: undefined for who takes no part.
 */
export const mayAnswer = (sender: User | undefined, who: User, role: SessionRole | undefined): boolean =>
  role === "owner" || (role === "writer" && isSameUser(sender, who));
