import type { Journal, Outcome } from "./journal.ts";
import type { User, World } from "./world.ts";

export interface ActorOptions {
  readonly name: string;
  readonly user: User;
  readonly world: World;
  readonly journal: Journal;
  /** No call may take longer. */
  readonly hangMs: number;
}

/** A client of the node. It opens what it needs, again after its connection has ended, but sends each message once. */
export interface Actor {
  /** `shared`: others may talk in this session too. */
  say(session: string, prompt: string, shared: boolean): Promise<Outcome>;
  close(): Promise<void>;
}
