import { randomBytes } from "node:crypto";
import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import { Secret } from "../kernel/secret.ts";
import type { Authenticated } from "./authenticated.ts";
import { hashOf } from "./keys.ts";

const prefix = "sqd_ticket_";
/** How long one that is not in use is good for. */
export const ticketUnusedMs = 60_000;
/** How long it may open a stream again after it was issued, however much it is in use. */
const ticketLifeMs = 12 * 3_600_000;
const mostOfAll = 10_000;
const mostOfOne = 100;

/** What a ticket gives while its stream is open. */
export interface OpenTicket {
  readonly caller: Authenticated;
  /** The stream has ended; its client may open it again within `ticketUnusedMs`. */
  close(): void;
}

/**
 * Tickets with which a browser opens the event stream of one session, since its `EventSource` can send no key. One is good
 * for one stream at a time and for opening that again. Only hashes of them are kept, in memory.
 */
export interface StreamTickets {
  /** Throws `rate_limited` when too many are out. */
  issue(caller: Authenticated, session: string): Secret;
  /** Undefined for what is no ticket for this session. `onReplaced` is called when another stream is opened with it. */
  open(ticket: string, session: string, onReplaced: () => void): OpenTicket | undefined;
}

interface Ticket {
  readonly caller: Authenticated;
  readonly owner: string;
  readonly session: string;
  readonly issuedAt: number;
  /** Cancels its end while it is not in use. */
  cancel: () => void;
  use: { readonly onReplaced: () => void } | undefined;
}

export const createStreamTickets = (clock: Clock): StreamTickets => {
  const tickets = new Map<string, Ticket>();
  const counts = new Map<string, number>();

  const remove = (hash: string, { owner, cancel }: Ticket): void => {
    cancel();
    if (!tickets.delete(hash)) return;
    const left = (counts.get(owner) ?? 0) - 1;
    if (left > 0) counts.set(owner, left);
    else counts.delete(owner);
  };

  const expireSoon = (hash: string, ticket: Ticket): void => {
    ticket.cancel = clock.after(ticketUnusedMs, () => remove(hash, ticket));
  };

  return {
    issue(caller, session) {
      const owner = JSON.stringify([caller.principal.tenant, caller.principal.user]);
      const mine = counts.get(owner) ?? 0;
      if (tickets.size >= mostOfAll || mine >= mostOfOne)
        throw new SquadronError("rate_limited", "Too many tickets are out; use those, or try again later.", {
          details: { retryAfter: ticketUnusedMs / 1_000 },
        });
      const text = `${prefix}${randomBytes(32).toString("base64url")}`;
      const hash = hashOf(text).toString("hex");
      const ticket: Ticket = {
        caller,
        owner,
        session,
        issuedAt: clock.monotonic(),
        cancel: () => undefined,
        use: undefined,
      };
      tickets.set(hash, ticket);
      counts.set(owner, mine + 1);
      expireSoon(hash, ticket);
      return new Secret(text);
    },
    open(text, session, onReplaced) {
      const hash = hashOf(text).toString("hex");
      const ticket = tickets.get(hash);
      if (ticket === undefined || ticket.session !== session) return undefined;
      if (clock.monotonic() - ticket.issuedAt >= ticketLifeMs) {
        if (ticket.use === undefined) remove(hash, ticket);
        return undefined;
      }
      ticket.cancel();
      const before = ticket.use;
      const use = { onReplaced };
      ticket.use = use;
      before?.onReplaced();
      return {
        caller: ticket.caller,
        close() {
          if (ticket.use !== use) return;
          ticket.use = undefined;
          expireSoon(hash, ticket);
        },
      };
    },
  };
};
