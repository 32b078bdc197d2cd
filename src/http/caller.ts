import type { FastifyRequest } from "fastify";
import type { Authenticated } from "../identity/authenticated.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Principal } from "../kernel/principal.ts";
import { browserToken } from "./browser-cookie.ts";
import type { HttpContext } from "./context.ts";

const callers = new WeakMap<FastifyRequest, Authenticated>();

/** Finds out who sends the request, by its key or by the cookie of a browser that has signed in. Rejects with `unauthenticated`. */
export const authenticate = async (
  { identity }: Pick<HttpContext, "identity">,
  request: FastifyRequest,
): Promise<Authenticated> => {
  const { authorization } = request.headers;
  const cookie = authorization === undefined ? browserToken(request) : undefined;
  const caller =
    cookie === undefined
      ? await identity.authenticate(/^bearer +(\S+) *$/i.exec(authorization ?? "")?.[1])
      : await identity.authenticateBrowser(cookie);
  callers.set(request, caller);
  return caller;
};

/**
 * Lets `use` read the stream of the session with this public id, for the bearer of a key or of a ticket for it.
 * `onReplaced` is called when another stream is opened with the ticket. Rejects with `unauthenticated`.
 */
export const withReader = async <T>(
  { identity }: Pick<HttpContext, "identity">,
  request: FastifyRequest,
  from: {
    readonly session: string;
    readonly ticket: string | undefined;
    readonly onReplaced: () => void;
  },
  use: () => Promise<T>,
): Promise<T> => {
  if (from.ticket === undefined) {
    await authenticate({ identity }, request);
    return use();
  }
  const opened = await identity.openStream(from.ticket, from.session, from.onReplaced);
  try {
    callers.set(request, opened.caller);
    return await use();
  } finally {
    opened.close();
  }
};

/** Who sends this request; only in routes behind `authenticate`. */
export const callerOf = (request: FastifyRequest): Authenticated => {
  const caller = callers.get(request);
  if (caller === undefined) throw new SquadronError("unauthenticated", "A valid key is needed.");
  return caller;
};

/** Who sent it, for the log; nobody when nobody has been recognised. */
export const knownCaller = (request: FastifyRequest): Principal | undefined =>
  callers.get(request)?.principal;

export const isAdmin = ({ roles }: Principal): boolean => roles.includes("admin");

/** Throws `forbidden` unless the principal administers the node. */
export const requireAdmin = (principal: Principal): void => {
  if (!isAdmin(principal)) throw new SquadronError("forbidden", "This needs a key with the role admin.");
};

/** The one tenant that the principal administers; `undefined` is all of them. Throws `forbidden` for ordinary users. */
export const administeredTenant = (principal: Principal): string | undefined => {
  if (isAdmin(principal)) return undefined;
  if (principal.roles.includes("tenant-admin")) return principal.tenant;
  throw new SquadronError("forbidden", "This needs a key with the role admin or tenant-admin.");
};
