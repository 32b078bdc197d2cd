import type { OnBusy, Policy } from "../config/config.ts";
import type { Runtime } from "../fleet/fleet.ts";
import type { Unit } from "../kernel/isolation.ts";
import type { JsonObject } from "../kernel/json.ts";
import type { Principal } from "../kernel/principal.ts";
import type { Secret } from "../kernel/secret.ts";
import type { ModelGrant, Usage } from "../models/grant.ts";
import type { SessionRecord } from "../sessions/record.ts";
import type { Turn } from "../sessions/turn.ts";
import type { KnownMessage, RequestKey, SessionRole, SessionRow } from "../store/store.ts";
import type { Envelope } from "../wire/envelope.ts";
import type { RequestOptions } from "../wire/peer.ts";
import type { Declarations } from "./declarations.ts";
import type { Life } from "./life.ts";
import type { SessionRequests } from "./request-vocabulary.ts";
import type { SessionAccess } from "./session-access.ts";

/** What the gateway needs of a client's connection; each face has its own kind. */
export interface ClientLink {
  readonly kind: "sdk" | "http";
  notify(method: string, params: unknown): void;
  /** A whole JSON-RPC notification, already serialised. */
  sendRaw(body: Buffer): void;
  /** Asks the client; rejects if it has no handler, answers with an error, or has gone. */
  request(method: string, params: unknown, options: RequestOptions): Promise<unknown>;
  /** Ends it from our side, telling the client why. */
  close(reason: Error): void;
}

/** Who has sent a message: a connection, or one that an earlier holder of the session had. */
export interface Sender {
  readonly id: string;
  readonly principal: Pick<Principal, "tenant" | "user">;
  readonly open: boolean;
  /** Undefined: it spoke to an earlier node. */
  readonly link?: Pick<ClientLink, "kind">;
}

/** One client's presence: a principal, its link, and the sessions that it is attached to. */
export interface Connection extends Sender {
  readonly principal: Principal;
  readonly policy: Policy;
  readonly link: ClientLink;
  /** The user's own GitHub token, if the key has one. */
  readonly githubToken: Secret | undefined;
  /** By the name that this connection knows the session by. */
  readonly attachments: Map<string, Attachment>;
  /**
   * A call of the client: judged, then answered by us or forwarded. `params` is parsed JSON.
   * Resolves with a value or with `RawJson`; rejects with `SquadronError` or the runtime's `RpcError`.
   */
  request(method: string, params: unknown): Promise<unknown>;
  /** `session.create` with facts that only our own faces may set. */
  create(params: unknown, traits: NewSessionTraits): Promise<JsonObject>;
  /** `session.send`, with the turn to wait for; answered as an SDK's is if nothing else is said. */
  send(params: unknown, how?: Sending): Promise<SentMessage>;
  /** Ends this client's turns in one of its sessions, or the one that is named. */
  abort(name: string, turnId?: string): Promise<Aborted>;
  /** Attaches to one's own session without a handler and without changing its record. */
  watch(name: string): Promise<void>;
  /** Detaches from every session. Others notice nothing. */
  close(): Promise<void>;
}

/** Facts of a new session that only our own faces may set. */
export interface NewSessionTraits {
  readonly ephemeral: boolean;
  readonly visibility: "private" | "shared";
  /** Tell the model who sends each message. */
  readonly senderNames?: boolean;
  /** Milliseconds that it may lie unused, instead of what the policy says. */
  readonly ttlMs?: number;
  /** The client's name for the request; rejects with `KeyUsed` if an earlier one had it. */
  readonly key?: RequestKey | undefined;
  /** Refuse with `name_taken` instead of joining one's own session of that name. */
  readonly mustBeNew?: boolean;
}

/** A connection's hold on one session. */
export interface Attachment {
  readonly connection: Connection;
  readonly host: SessionHost;
  readonly name: string;
  /** What its user is in the session; another one as soon as that has been changed. */
  role: SessionRole;
  /** Does it belong to the user who made the session, whose clients alone change what it is resumed with? */
  readonly founder: boolean;
  /** What its client has declared. */
  readonly offered: Declarations;
  /** What of that counts in its present role. */
  declarations: Declarations;
  /** Event types that the client registered interest in, by the client's handle, with the runtime's present one. */
  readonly interests: Map<string, { readonly eventType: string; handle: string }>;
}

export interface SentMessage {
  readonly messageId: string;
  readonly turn: Turn<Sender>;
}

/**
 * When a send is answered: when the runtime has `taken` the message, or, if it must wait, when it is stored; always when
 * it is `stored`; or at once, by one who waits for its end (`ended`), whom nothing is promised.
 */
export type SendAnswer = "taken" | "stored" | "ended";

/** How a client wants its message to be taken. */
export interface Sending {
  readonly answer: SendAnswer;
  /** What to do when another turn runs or waits; the policy's way if it is not said. */
  readonly onBusy?: OnBusy;
  /** The client's name for this request; with it the answer is `stored`, or rejects with `KeyUsed`. */
  readonly key?: RequestKey | undefined;
  /** Called with the turn before anything becomes of it. */
  readonly onTurn?: (turn: Turn<Sender>) => void;
}

/** What an abort has ended. */
export interface Aborted {
  readonly turns: readonly Turn<Sender>[];
  /** Does another's turn run, which goes on? */
  readonly foreign: boolean;
}

/** The two ways in which the protocol lets a client leave a session. */
export type Leaving = "detach" | "destroy";

/** How a client opens a session. */
export interface Opening {
  readonly kind: "create" | "resume";
  /** Judged parameters of create or resume. */
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly githubToken: Secret | undefined;
  /** The client makes the session's model calls itself. */
  readonly ownInference: boolean;
}

/** One session as the node runs it: its one upstream attachment, the clients' attachments, its turns. */
export interface SessionHost {
  readonly row: SessionRow;
  readonly unit: Unit;
  /** The owner's name for it; another one after the owner has renamed it. */
  name: string;
  readonly record: SessionRecord;
  readonly life: Life["kind"];
  /** Has the session ever been created in a runtime? */
  readonly created: boolean;
  readonly attachments: readonly Attachment[];
  readonly access: SessionAccess;
  readonly busy: boolean;
  /** The turn that runs or is about to. */
  readonly turn: Turn<Sender> | undefined;
  /** Messages that wait for it to end, in the order in which they would run. */
  readonly waiting: readonly Turn<Sender>[];
  readonly grant: ModelGrant;
  /** The client that makes the session's model calls, if one does. */
  readonly inferenceBy: Connection | undefined;
  /** The runtime that holds the session or is about to. */
  readonly runtime: Runtime | undefined;
  /**
   * Attaches a client of who takes part; the founder's first one creates the session in a runtime. Rejects with
   * `session_deleted`, and with `forbidden` for who takes no part any more.
   */
  open(
    connection: Connection,
    name: string,
    opening: Opening,
  ): Promise<{ attachment: Attachment; result: JsonObject }>;
  watch(connection: Connection, name: string): Attachment;
  /**
   * Takes in that a user has another role now, or none (`null`). Before it resolves, their clients have what that means:
   * who takes no part any more is detached and told so, and gets nothing from then on; the messages that they may not
   * send any more are taken back, and the running turn of who is removed is aborted.
   */
  changePart(user: string, role: SessionRole | null): Promise<void>;
  /** The others notice nothing. After the last SDK client the session leaves the runtime's memory when it is idle. */
  detach(attachment: Attachment, how?: Leaving): Promise<void>;
  /** Calls the session's runtime, waking the session if it sleeps. `params` without the session id. */
  call(method: string, params: Readonly<Record<string, unknown>>): Promise<Envelope>;
  /** `call`, answered only when what it changed is stored. */
  change(method: string, params: Readonly<Record<string, unknown>>): Promise<Envelope>;
  /** May the session be sent to sleep now, with nobody noticing? */
  readonly evictable: boolean;
  /** When anybody last had to do with it; monotonic. */
  readonly lastUsedAt: number;
  /** Sends it to sleep without a word to its runtime, which is about to be killed; false if it has work again. */
  abandon(): Promise<boolean>;
  /** May a message that has just come from this connection have crossed the end of an earlier turn? */
  mayCrossEnd(connection: Connection): boolean;
  send(connection: Connection, params: Readonly<Record<string, unknown>>, how: Sending): Promise<SentMessage>;
  /** Ends this client's turns, or the one that is named if it is this client's. */
  abort(connection: Connection, turnId?: string): Promise<Aborted>;
  /** A turn that has not ended. */
  findTurn(id: string): Turn<Sender> | undefined;
  /** The runtime has taken back the last of the messages that were to be delivered into the running turn, or all. */
  unsteered(which: "last" | "all"): void;
  /** Runs what an earlier holder of the session had promised to run. */
  resume(): Promise<void>;
  /** Resolves when no turn runs or waits. */
  settle(): Promise<void>;
  /** The node is closing: turns end as interrupted or refused, and whoever waits is told. */
  stop(message: string): void;
  updateOptions(options: JsonObject): Promise<Envelope>;
  /** `session.provider.add`, its keys kept here. */
  addProviders(params: JsonObject): Promise<Envelope>;
  registerInterest(attachment: Attachment, eventType: string): Promise<Envelope>;
  /** What its runtime asks, and who may answer. */
  readonly requests: SessionRequests;
  /** The name that the runtime's message has for clients. */
  clientMessageId(runtimeMessageId: string): string | undefined;
  /** What the history does not say of messages, by the runtime's ids. */
  readonly messages: ReadonlyMap<string, KnownMessage>;
  countTokens(usage: Pick<Usage, "inputTokens" | "outputTokens">): void;
  event(frame: Envelope): void;
  callback(method: string, params: Record<string, unknown>): Promise<unknown>;
  runtimeClosed(runtime: Runtime): void;
  /**
   * Deletes the session by `remove`; from then on nothing can wake it. False, and nothing happens, when it is deleted
   * already or `may`, asked when all that came before is done, says no.
   */
  bury(remove: () => Promise<void>, may: (host: SessionHost) => boolean): Promise<boolean>;
}
