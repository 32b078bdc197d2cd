import type { Clock } from "../kernel/clock.ts";
import type { SessionName, SessionRole, Store } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";
import type { SessionHost } from "./vocabulary.ts";

/** Between two tellings to the readers of one session. */
const everyMs = 250;
/** What tellings may take of the node: a large room is told less often. */
const bytesPerMs = 10_000;
/** So long somebody counts as typing who has not said it again. */
const typingMs = 10_000;
/** When participants could not be read, they are again after so long. */
const againMs = 1_000;

/** Is this user there now, as far as this node knows? */
export interface UserPresence {
  /** Has an SDK client attached, or an event stream open. */
  readonly attached: boolean;
  readonly typing: boolean;
}

export interface PresentUser extends UserPresence {
  readonly user: string;
  readonly role: SessionRole;
}

/** Who of a session's participants is there. Nothing of it is stored, and another node knows nothing of it. */
export interface Presence {
  of(sessionId: string, user: string): UserPresence;
  /**
   * The user has an event stream open until the returned function is called. `listener` gets `{ users: … }` as an event's
   * data, the whole of it, soon after the begin and after each change, a few times a second at most.
   */
  follow(sessionId: string, user: string, listener: (event: Buffer) => void): () => void;
  /** It ends by itself after 10 s, and when the user sends a message. */
  typing(sessionId: string, user: string, typing: boolean): void;
  /** Somebody has attached or left. */
  moved(sessionId: string): void;
  /** Who takes part has changed: readers are told at once, unless they are very many. */
  participantsChanged(sessionId: string): void;
}

interface Follower {
  readonly user: string;
  readonly listener: (event: Buffer) => void;
  told: string | undefined;
}

interface Room {
  readonly followers: Set<Follower>;
  /** Ends of the typing, by user. */
  readonly typing: Map<string, () => void>;
  toldAt: number;
  /** How long the last telling lasts, by its size. */
  restMs: number;
  cancelTimer: (() => void) | undefined;
  telling: boolean;
  /** When to tell once more, if something has changed since the telling that goes on began. */
  next: "now" | "later" | undefined;
}

export const createPresence = (options: {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: { readonly sessions: Pick<Store["sessions"], "namesOf"> };
  readonly hostOf: (sessionId: string) => Pick<SessionHost, "attachments"> | undefined;
}): Presence => {
  const { clock, log, store, hostOf } = options;
  const rooms = new Map<string, Room>();

  const roomOf = (sessionId: string): Room => {
    const found = rooms.get(sessionId);
    if (found !== undefined) return found;
    const made: Room = {
      followers: new Set(),
      typing: new Map(),
      toldAt: Number.NEGATIVE_INFINITY,
      restMs: 0,
      cancelTimer: undefined,
      telling: false,
      next: undefined,
    };
    rooms.set(sessionId, made);
    return made;
  };

  const forgetUnused = (sessionId: string, room: Room): void => {
    if (room.followers.size > 0) return;
    room.cancelTimer?.();
    room.cancelTimer = undefined;
    if (room.typing.size === 0) rooms.delete(sessionId);
  };

  const attachedTo = (sessionId: string): ReadonlySet<string> => {
    const clients = (hostOf(sessionId)?.attachments ?? []).map(({ connection }) => connection);
    const readers = [...(rooms.get(sessionId)?.followers ?? [])].map(({ user }) => user);
    return new Set([
      ...clients.filter(({ link }) => link.kind === "sdk").map(({ principal }) => principal.user),
      ...readers,
    ]);
  };

  const usersOf = (sessionId: string, participants: readonly SessionName[]): readonly PresentUser[] => {
    const attached = attachedTo(sessionId);
    const typing = rooms.get(sessionId)?.typing;
    return participants
      .map(({ user, role }) => ({
        user,
        role,
        attached: attached.has(user),
        typing: typing?.has(user) === true,
      }))
      .sort((one, other) => (one.user < other.user ? -1 : 1));
  };

  const tell = async (sessionId: string, room: Room): Promise<void> => {
    const participants = await store.sessions.namesOf(sessionId);
    // A session that is deleted has none.
    if (participants.length === 0) return;
    const data = JSON.stringify({ users: usersOf(sessionId, participants) });
    const behind = [...room.followers].filter(({ told }) => told !== data);
    if (behind.length === 0) return;
    const timestamp = new Date(clock.now()).toISOString();
    const event = Buffer.from(
      `{"type":"presence","timestamp":"${timestamp}","ephemeral":true,"data":${data}}`,
    );
    room.restMs = (behind.length * event.length) / bytesPerMs;
    for (const follower of behind) {
      follower.told = data;
      follower.listener(event);
    }
  };

  const begin = (sessionId: string, room: Room): void => {
    room.telling = true;
    room.next = undefined;
    room.toldAt = clock.monotonic();
    const over = (): "now" | "later" | undefined => {
      room.telling = false;
      return room.next;
    };
    tell(sessionId, room).then(
      () => {
        const next = over();
        if (next === "now") begin(sessionId, room);
        else if (next === "later") tellLater(sessionId, room);
      },
      (error: unknown) => {
        log.warn({ session: sessionId, error }, "who takes part in a session could not be read");
        over();
        tellLater(sessionId, room, againMs);
      },
    );
  };

  const tellNow = (sessionId: string, room: Room): void => {
    room.cancelTimer?.();
    room.cancelTimer = undefined;
    if (room.telling) room.next = "now";
    else begin(sessionId, room);
  };

  const tellLater = (sessionId: string, room: Room, waitMs = 0): void => {
    if (room.followers.size === 0 || room.cancelTimer !== undefined) return;
    const leftMs = Math.max(waitMs, room.toldAt + Math.max(everyMs, room.restMs) - clock.monotonic());
    if (room.telling) room.next ??= "later";
    else if (leftMs <= 0) begin(sessionId, room);
    else room.cancelTimer = clock.after(leftMs, () => tellNow(sessionId, room));
  };

  const moved = (sessionId: string): void => {
    const room = rooms.get(sessionId);
    if (room !== undefined) tellLater(sessionId, room);
  };

  return {
    of: (sessionId, user) => ({
      attached: attachedTo(sessionId).has(user),
      typing: rooms.get(sessionId)?.typing.has(user) === true,
    }),
    follow(sessionId, user, listener) {
      const room = roomOf(sessionId);
      const follower: Follower = { user, listener, told: undefined };
      room.followers.add(follower);
      tellLater(sessionId, room);
      return () => {
        room.followers.delete(follower);
        tellLater(sessionId, room);
        forgetUnused(sessionId, room);
      };
    },
    typing(sessionId, user, typing) {
      const before = rooms.get(sessionId)?.typing.get(user);
      if (before === undefined && !typing) return;
      const room = roomOf(sessionId);
      before?.();
      room.typing.delete(user);
      if (typing)
        room.typing.set(
          user,
          clock.after(typingMs, () => {
            room.typing.delete(user);
            tellLater(sessionId, room);
            forgetUnused(sessionId, room);
          }),
        );
      if (typing !== (before !== undefined)) tellLater(sessionId, room);
      forgetUnused(sessionId, room);
    },
    moved,
    participantsChanged(sessionId) {
      const room = rooms.get(sessionId);
      if (room === undefined || room.followers.size === 0) return;
      if (room.restMs > everyMs) tellLater(sessionId, room);
      else tellNow(sessionId, room);
    },
  };
};
