import type { PendingMessages } from "../sessions/session-state.ts";
import type { KnownMessage } from "../store/store.ts";

/** What the history of one session does not say of its messages; commits store it. */
export interface KnownMessages {
  /** By the runtime's id. */
  readonly all: ReadonlyMap<string, KnownMessage>;
  /** The id that clients know the runtime's message by, where it is another one. */
  clientId(runtimeId: string): string | undefined;
  /** The runtime has named a message of this user. */
  named(runtimeId: string, message: { readonly clientId: string; readonly user: string }): void;
  /** Another node has had the session and knows more. */
  learn(known: ReadonlyMap<string, KnownMessage>): void;
  /** What is not stored yet. */
  readonly pending: PendingMessages | undefined;
}

export const createKnownMessages = (options: {
  readonly known: ReadonlyMap<string, KnownMessage>;
  /** Of the session: whose its messages are if nothing else is known. */
  readonly owner: string;
}): KnownMessages => {
  const all = new Map(options.known);
  const unstored = new Map<string, KnownMessage>();

  return {
    all,
    clientId: (runtimeId) => all.get(runtimeId)?.clientId,
    named(runtimeId, { clientId, user }) {
      const sender = user === options.owner ? null : user;
      if (clientId === runtimeId && sender === null) return;
      all.set(runtimeId, { clientId, sender });
      unstored.set(runtimeId, { clientId, sender });
    },
    learn(known) {
      for (const [runtimeId, message] of known) all.set(runtimeId, message);
    },
    get pending() {
      if (unstored.size === 0) return undefined;
      const messages = [...unstored].map(([runtimeId, message]) => ({ runtimeId, ...message }));
      return {
        messages,
        accept() {
          for (const { runtimeId } of messages) unstored.delete(runtimeId);
        },
      };
    },
  };
};
