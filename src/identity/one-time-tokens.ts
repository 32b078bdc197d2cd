import { randomBytes } from "node:crypto";
import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Principal } from "../kernel/principal.ts";
import { Secret } from "../kernel/secret.ts";

const prefix = "sqd_once_";
const validForMs = 30_000;
/** Unused ones; each is gone after `validForMs`. */
const most = 10_000;

/** Tokens that this process gives to itself: for one use, soon, and known to nobody else. */
export interface OneTimeTokens {
  /** A token for this principal, good for one `redeem` within 30 seconds. Throws `rate_limited` when 10,000 are unused. */
  issue(principal: Principal): Secret;
  /** Whose token this is; from then on it is nobody's. */
  redeem(token: string): Principal | undefined;
}

export const createOneTimeTokens = (clock: Clock): OneTimeTokens => {
  const waiting = new Map<string, { readonly principal: Principal; readonly cancel: () => void }>();
  return {
    issue(principal) {
      if (waiting.size >= most) {
        throw new SquadronError(
          "rate_limited",
          "Too many clients are being connected at once; try again later.",
        );
      }
      const token = `${prefix}${randomBytes(32).toString("base64url")}`;
      waiting.set(token, { principal, cancel: clock.after(validForMs, () => waiting.delete(token)) });
      return new Secret(token);
    },
    redeem(token) {
      const found = waiting.get(token);
      if (found === undefined) return undefined;
      waiting.delete(token);
      found.cancel();
      return found.principal;
    },
  };
};
