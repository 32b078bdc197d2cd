/** The node's HTTP API, as far as the chat room uses it. */
import { type Json, list, record, text } from "./json.ts";
import type { Blob64 } from "./outbox.ts";
import { type OpenRequest, readRequest, type Turn, type TurnState } from "./room.ts";
import { texts } from "./texts.ts";

export type Role = "owner" | "writer" | "reader";

export interface Me {
  readonly tenant: string;
  readonly user: string;
}

export interface Session {
  readonly id: string;
  readonly name: string;
  readonly title: string | null;
  readonly owner: string;
  readonly role: Role;
  readonly participants: number;
  readonly busy: boolean;
  readonly lastUsedAt: string;
}

export interface Participant {
  readonly user: string;
  readonly role: Role;
  readonly attached: boolean;
}

export interface Invite {
  readonly id: string;
  readonly role: Role;
  readonly usesLeft: number;
  readonly expiresAt: string;
}

/** An answer of the server that is none of what was asked for; `status` 0: there was no answer. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  constructor(status: number, code: string, message: string) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
  }
}

/** Is it worth trying the same again? */
export const isPassing = (error: unknown): boolean =>
  error instanceof ApiError && (error.status === 0 || error.status === 503 || error.code === "rate_limited");

export const messageOf = (error: unknown): string =>
  error instanceof Error && error.message !== "" ? error.message : texts.errors.unknown;

export const ownHeaders = { "x-squadron-request": "1" } as const;

const problemOf = async (response: Response): Promise<ApiError> => {
  const problem = record(await response.json().catch(() => undefined));
  return new ApiError(response.status, text(problem.code), text(problem.detail) || texts.errors.unknown);
};

/** Rejects with `ApiError` for every answer that is not 2xx. */
export const ask = async (path: string, init: RequestInit = {}): Promise<Response> => {
  let response: Response;
  try {
    response = await fetch(path, {
      ...init,
      credentials: "same-origin",
      headers: { ...ownHeaders, ...init.headers },
    });
  } catch (error) {
    if (init.signal?.aborted === true) throw error;
    throw new ApiError(0, "network", texts.errors.network);
  }
  if (response.ok) return response;
  throw await problemOf(response);
};

const call = async (method: string, path: string, body?: unknown, headers?: HeadersInit): Promise<Json> => {
  const response = await ask(path, {
    method,
    headers: { ...(body !== undefined && { "content-type": "application/json" }), ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return response.status === 204 ? {} : record(await response.json());
};

const meOf = ({ tenant, user }: Json): Me => ({ tenant: text(tenant), user: text(user) });

const roleOf = (value: unknown): Role => (value === "owner" || value === "writer" ? value : "reader");

const sessionOf = (value: unknown): Session => {
  const one = record(value);
  return {
    id: text(one.id),
    name: text(one.name),
    title: text(one.title) || null,
    owner: text(one.owner),
    role: roleOf(one.role),
    participants: typeof one.participants === "number" ? one.participants : 1,
    busy: one.busy === true,
    lastUsedAt: text(one.lastUsedAt),
  };
};

const turnStates: ReadonlySet<string> = new Set([
  "queued",
  "running",
  "completed",
  "failed",
  "aborted",
  "interrupted",
]);

const turnOf = (value: unknown): Turn[] => {
  const one = record(value);
  const state = text(one.state);
  if (!turnStates.has(state)) return [];
  return [
    { id: text(one.id), by: text(one.by), state: state as TurnState, reason: text(one.reason) || null },
  ];
};

const inviteOf = (value: unknown): Invite => {
  const { id, role, usesLeft, expiresAt } = record(value);
  return { id: text(id), role: roleOf(role), usesLeft: Number(usesLeft), expiresAt: text(expiresAt) };
};

const at = (session: string, rest = ""): string => `/v1/sessions/${encodeURIComponent(session)}${rest}`;

export const api = {
  /** Whom this browser is signed in as, if it is. */
  async signedInAs(): Promise<Me | undefined> {
    const { signedInAs } = await call("GET", "/v1/browser-session");
    return signedInAs === null ? undefined : meOf(record(signedInAs));
  },
  whoseKey: async (key: string): Promise<Me> =>
    meOf(await call("GET", "/v1/me", undefined, { authorization: `Bearer ${key}` })),
  signIn: (key: string) => call("POST", "/v1/browser-session", { key }),
  signOut: () => call("DELETE", "/v1/browser-session"),

  /** All of them, the last used first. */
  async sessions(): Promise<readonly Session[]> {
    const all: Session[] = [];
    for (let next = ""; ; ) {
      const page = await call(
        "GET",
        `/v1/sessions?limit=200${next && `&cursor=${encodeURIComponent(next)}`}`,
      );
      all.push(...list(page.sessions).map(sessionOf));
      next = text(page.next);
      if (next === "" || all.length >= 2_000) return all;
    }
  },
  session: async (id: string): Promise<Session> => sessionOf(await call("GET", at(id))),
  create: async (): Promise<Session> => sessionOf(await call("POST", "/v1/sessions", { senderNames: true })),
  rename: async (id: string, title: string): Promise<Session> =>
    sessionOf(await call("PATCH", at(id), { title })),
  remove: (id: string) => call("DELETE", at(id)),

  /** The turn's id. Sent again with the same key it has its effect once. */
  async send(
    id: string,
    message: { readonly prompt: string; readonly attachments?: readonly Blob64[] },
    key: string,
  ): Promise<string> {
    const answer = await call("POST", at(id, "/messages?wait=false"), message, { "idempotency-key": key });
    return text(answer.turnId);
  },
  abort: (id: string, turnId: string) =>
    call("POST", at(id, `/turns/${encodeURIComponent(turnId)}/abort`), {}),
  /** The newest turns, the oldest of them first, and those that wait in their order. */
  async turns(id: string): Promise<readonly Turn[]> {
    const [{ turns }, { waiting }] = await Promise.all([
      call("GET", at(id, "/turns?limit=200")),
      call("GET", at(id, "/queue")),
    ]);
    const places = list(waiting).map((one) => text(record(one).turnId));
    const all = list(turns).flatMap(turnOf).reverse();
    const place = (turn: Turn): number => (turn.state === "queued" ? places.indexOf(turn.id) : -2);
    return all.sort((a, b) => place(a) - place(b));
  },
  typing: (id: string, typing: boolean) => call("POST", at(id, "/typing"), { typing }),

  async requests(id: string): Promise<readonly OpenRequest[]> {
    const { requests } = await call("GET", at(id, "/requests"));
    return list(requests).flatMap((one) => readRequest(text(record(one).id), record(one)) ?? []);
  },
  answer: (id: string, request: string, answer: Json) =>
    call("POST", at(id, `/requests/${encodeURIComponent(request)}`), answer),

  async participants(id: string): Promise<readonly Participant[]> {
    const { participants } = await call("GET", at(id, "/participants"));
    return list(participants).map((one) => {
      const { user, role, attached } = record(one);
      return { user: text(user), role: roleOf(role), attached: attached === true };
    });
  },
  grant: (id: string, user: string, role: Role) =>
    call("PUT", at(id, `/participants/${encodeURIComponent(user)}`), { role }),
  revoke: (id: string, user: string) => call("DELETE", at(id, `/participants/${encodeURIComponent(user)}`)),

  invites: async (id: string): Promise<readonly Invite[]> =>
    list((await call("GET", at(id, "/invites"))).invites).map(inviteOf),
  async invite(id: string, role: Role, uses: number): Promise<string> {
    const made = await call("POST", at(id, "/invites"), { role, uses });
    return new URL(text(made.url), location.origin).href;
  },
  revokeInvite: (id: string, invite: string) =>
    call("DELETE", at(id, `/invites/${encodeURIComponent(invite)}`)),
  accept: async (token: string): Promise<Session> =>
    sessionOf(await call("POST", "/v1/invites/accept", { token })),

  events: (id: string, last: string, signal: AbortSignal): Promise<Response> =>
    ask(at(id, "/events"), { signal, headers: { accept: "text/event-stream", "last-event-id": last } }),
};
