import type { Journal, Outcome } from "./journal.ts";
import type { User, World } from "./world.ts";

export interface ActorOptions {
  readonly name: string;
  readonly user: User;
  readonly world: World;
  readonly journal: Journal;
  /** No call may take longer. */
  readonly hangMs: number;
  /** A session that is there already. */
  readonly existing?: string;
}

/** How a message is sent. */
export interface Manner {
  /** SDK: the answer is found by the message's id, as a program may do that is not alone; else by `sendAndWait`. */
  readonly byId?: boolean;
  /** HTTP: the answer comes when it is whole, event by event, or is asked for again and again after a 202. */
  readonly form?: "whole" | "events" | "poll";
  /** Into the turn that runs. */
  readonly steer?: boolean;
  /** When the sender asks to end it. Over HTTP that needs the turn's id, which comes late with the form `whole`. */
  readonly abortAfterMs?: number;
  /** The node has said that it has taken the message. */
  readonly onTaken?: () => void;
}

/** A client of the node. It opens what it needs, again after its connection has ended, but sends each message once. */
export interface Actor {
  say(session: string, prompt: string, manner: Manner): Promise<Outcome>;
  /** Its connection ends at once, whatever waits on it. */
  cut(): Promise<void>;
  close(): Promise<void>;
}
