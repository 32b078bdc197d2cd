import type { FastifyRequest } from "fastify";
import type { Authenticated } from "../identity/identity.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Principal } from "../kernel/principal.ts";
import type { HttpContext } from "./context.ts";

const callers = new WeakMap<FastifyRequest, Authenticated>();

/** Finds out who sends the request. Rejects with `unauthenticated`. */
export const authenticate = async (
  { identity }: HttpContext,
  request: FastifyRequest,
): Promise<Authenticated> => {
  const token = /^bearer +(\S+) *$/i.exec(request.headers.authorization ?? "")?.[1];
  const caller = await identity.authenticate(token);
  callers.set(request, caller);
  return caller;
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
