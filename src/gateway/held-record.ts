import type { Policy } from "../config/config.ts";
import type { HttpSessions } from "../config/http-sessions.ts";
import type { JsonObject } from "../kernel/json.ts";
import type { Secret } from "../kernel/secret.ts";
import type { ModelGrant } from "../models/grant.ts";
import {
  parseRecord,
  recordAfterCall,
  recordAfterEvent,
  recordAfterLeaving,
  recordAfterModel,
  recordAfterOptions,
  recordAfterProviders,
  recordAfterResume,
  recordIn,
  recordWithoutDirectory,
  type SessionRecord,
} from "../sessions/record.ts";
import { createPathApprovals } from "../sessions/record-approvals.ts";
import type { Places } from "../sessions/record-places.ts";
import type { PendingRecord } from "../sessions/session-state.ts";
import type { SessionRow } from "../store/store.ts";
import type { HostServices } from "./host-services.ts";
import { type Credentials, grantOf, takeCredentials } from "./upstream-parameters.ts";
import type { Opening } from "./vocabulary.ts";

/** What must be put back when opening a session fails. */
export interface UpstreamMemory {
  readonly record: SessionRecord;
  readonly credentials: Credentials;
}

/** What an open session is resumed with, as this node has it: the record, kept in the store, and secrets, kept here. */
export interface HeldRecord {
  readonly record: SessionRecord;
  readonly grant: ModelGrant;
  /** What the policy gives to the session, if it is one that it gives something to. */
  readonly given: HttpSessions | undefined;
  readonly memory: UpstreamMemory;
  restore(memory: UpstreamMemory): void;
  /** Another holder has changed the record since it was read here. */
  reload(stored: string): void;
  /** Takes over the parameters of a create or resume, secrets apart. */
  remember(recorded: JsonObject, opening: Pick<Opening, "githubToken" | "ownInference">): void;
  /** Keeps a token for a session that has none. */
  lend(githubToken: Secret | undefined): void;
  /** Takes the keys out of further providers and keeps them; returns what the runtime may see. */
  shield(params: JsonObject): JsonObject;
  /** The session goes into a runtime with these directories. */
  enter(places: Places): void;
  /** The directory that the session was in is no more. */
  loseDirectory(): void;
  /** The session leaves memory because its last client did. */
  leave(): void;
  /** The folds below count for the next wake when they are stored: by a commit, with the files, or by `save`. */
  foldOptions(options: JsonObject): void;
  /** Further providers and their models. */
  foldProviders(shown: JsonObject): void;
  foldEvent(type: string, data: unknown, agentId: unknown): void;
  /** What a call has changed in the runtime's memory. */
  foldCall(method: string, params: JsonObject, result: unknown): Promise<void>;
  /** What has changed since it was stored last. */
  readonly pending: PendingRecord | undefined;
  /** What is not stored has not happened. */
  takeBack(): void;
  /** Stores the record alone; resolves when every change of it is stored. */
  save(): Promise<void>;
  /** Begins to; whoever must know how it went asks `save`. */
  saveMeanwhile(): void;
}

/** After these the model of the rest counts again. */
const cutsHistory: ReadonlySet<string> = new Set(["session.history.truncate", "session.history.rewind"]);

export const createHeldRecord = (options: {
  readonly services: Pick<HostServices, "store" | "githubRoutes">;
  readonly row: SessionRow;
  readonly policy: Policy;
  /** In which the session was last taken out of the store here: a record of an older one is not stored. */
  readonly epoch: () => number | undefined;
  /** What the runtime says of the session's model; undefined when the session is in none. */
  readonly currentModel: () => Promise<unknown> | undefined;
}): HeldRecord => {
  const { services, row, policy } = options;
  const { store } = services;
  let record = parseRecord(row.record);
  let credentials: Credentials = { ownInference: false, githubToken: undefined, routes: [], servers: {} };
  let saving: Promise<void> = Promise.resolve();
  /** The record that the store is known to have. */
  let stored = record;
  /** What the store was last given, as it is written; it has that, or is about to. */
  let given = JSON.stringify({ createdUpstream: row.createdUpstream, record: row.record });
  const pathApprovals = createPathApprovals();

  /** Of a one-shot session nothing that was said is written down: a deleted row stays readable in a database's files. */
  const patchOf = (one: SessionRecord): PendingRecord["patch"] => ({
    // Before anything is said a runtime writes no history: a session that has left its memory is unknown to it.
    createdUpstream: one.unwritten === undefined,
    record: row.ephemeral ? row.record : JSON.stringify(one),
  });

  const pending = (): (PendingRecord & { readonly text: string }) | undefined => {
    const now = record;
    const patch = patchOf(now);
    const text = JSON.stringify(patch);
    if (text === given) return undefined;
    const accept = (): void => {
      stored = now;
      given = text;
    };
    return { patch, text, accept };
  };

  /** What could not be written is tried again. */
  const save = (): Promise<void> => {
    const change = pending();
    if (change === undefined) return saving;
    given = change.text;
    saving = store.sessions.update(row.id, change.patch, options.epoch()).then(change.accept, (error) => {
      given = "";
      throw error;
    });
    return saving;
  };

  return {
    get record() {
      return record;
    },
    get grant() {
      return grantOf(policy, credentials, services.githubRoutes);
    },
    get given() {
      return record.facts.overHttp === true ? policy.httpSessions : undefined;
    },
    get memory() {
      return { record, credentials };
    },
    restore(memory) {
      ({ record, credentials } = memory);
    },
    reload(text) {
      record = parseRecord(text);
      stored = record;
      given = "";
    },
    remember(recorded, { githubToken, ownInference }) {
      const taken = takeCredentials(recorded);
      record = recordAfterResume(record, taken.parameters);
      credentials = {
        ownInference,
        githubToken: githubToken ?? credentials.githubToken,
        routes: taken.routes.length > 0 ? taken.routes : credentials.routes,
        servers: taken.servers,
      };
    },
    lend(githubToken) {
      credentials = { ...credentials, githubToken: credentials.githubToken ?? githubToken };
    },
    shield(params) {
      const taken = takeCredentials(params);
      const kept = credentials.routes.filter(
        (old) =>
          !taken.routes.some(
            ({ prefix, placeholder }) => prefix === old.prefix && placeholder === old.placeholder,
          ),
      );
      credentials = { ...credentials, routes: [...taken.routes, ...kept] };
      return taken.parameters;
    },
    enter(places) {
      record = recordIn(record, places);
    },
    loseDirectory() {
      record = recordWithoutDirectory(record);
    },
    leave() {
      record = recordAfterLeaving(record);
    },
    foldOptions(changed) {
      record = recordAfterOptions(record, changed);
    },
    foldProviders(shown) {
      record = recordAfterProviders(record, shown);
    },
    async foldCall(method, params, result) {
      const model = cutsHistory.has(method) && (await options.currentModel());
      record = recordAfterModel(recordAfterCall(record, method, params, result), model);
    },
    foldEvent(type, data, agentId) {
      record = pathApprovals(recordAfterEvent(record, type, data, agentId), type, data);
    },
    get pending() {
      return pending();
    },
    takeBack() {
      record = stored;
    },
    save,
    saveMeanwhile() {
      save().catch(() => undefined);
    },
  };
};
