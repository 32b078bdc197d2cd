import type { Principal } from "../kernel/principal.ts";
import type { Secret } from "../kernel/secret.ts";

/** Who was recognised, and by what. */
export interface Authenticated {
  readonly principal: Principal;
  /** The user's own GitHub token, when the key brings one. */
  readonly githubToken?: Secret;
  /** Names the key without giving it away. */
  readonly keyId: string;
  /** When it was recognised by a browser's cookie. */
  readonly browserSession?: { readonly hash: string; readonly expiresAt: number };
}
