import type { Json } from "../kernel/json.ts";
import type { Principal } from "../kernel/principal.ts";
import type { PersonalAnswer, PersonalKind } from "./request-answers.ts";

export type User = Pick<Principal, "tenant" | "user">;

/** What has become of a question: nobody answered in time, or the runtime has no use for an answer any more. */
export type RequestEnd =
  | { readonly outcome: "answered"; readonly by: User }
  | { readonly outcome: "timeout" }
  | { readonly outcome: "withdrawn" };

/** A question of a runtime to the clients of one of its sessions. */
export interface Question {
  readonly id: string;
  /** What it is to people; undefined: only programs answer it. */
  readonly kind: PersonalKind | undefined;
  /** The turn in which it is asked, if it is one of the queue. */
  readonly turn: { readonly id: string; readonly sender: { readonly principal: User } } | undefined;
  /** What the runtime says of it, with the session's public id. */
  readonly detail: Json;
  /** May another client than the one that is asked answer it over the SDK? */
  readonly othersMayAnswer: boolean;
  /** Gives the runtime a person's answer. False: it has no use for it. Rejects when it takes it for none. */
  give(answer: PersonalAnswer): Promise<boolean>;
}

/** An open question. Times are milliseconds since 1970. */
export interface OpenRequest extends Question {
  readonly askedAt: number;
  readonly expiresAt: number;
}

/** What the runtime of a session asks, as those see it who answer. */
export interface SessionRequests {
  /** The oldest first. */
  readonly list: readonly OpenRequest[];
  find(id: unknown): OpenRequest | undefined;
  /** Was it asked, and is it over? Remembers a number of them. */
  hasEnded(id: unknown): boolean;
  /** May this user answer that question, or, if it is not known, any? */
  mayAnswer(request: OpenRequest | undefined, who: User): boolean;
  /** May this client answer it over the SDK? Beside the right to it: an SDK client answers by itself whatever it sees. */
  takesFrom(request: OpenRequest, connectionId: string): boolean;
  /** Is it the policy's alone to answer that one? */
  ofPolicy(id: unknown): boolean;
  /**
   * Lets `give` hand an answer to the runtime, one after the other; the first that is taken ends the question. False when
   * it has ended otherwise, or its runtime has no use for it. Rejects as `give` does, and with `forbidden` when this user
   * may not answer it any more.
   */
  answer(id: string, by: User, give: () => Promise<boolean>): Promise<boolean>;
}
