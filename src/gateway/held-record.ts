import type { Policy } from "../config/config.ts";
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
  /** The session has left memory because its last client did. */
  leave(): Promise<void>;
  foldOptions(options: JsonObject): Promise<void>;
  /** Keeps further providers and their models for the next wake. */
  foldProviders(shown: JsonObject): Promise<void>;
  foldEvent(type: string, data: unknown, agentId: unknown): void;
  /** Keeps for the next wake what a call has changed in the runtime's memory. */
  foldCall(method: string, params: JsonObject, result: unknown): Promise<void>;
  save(): Promise<void>;
  /** Resolves when every change of the record is stored; rejects when that cannot be. */
  saved(): Promise<void>;
}

/** After these the model of the rest counts again. */
const cutsHistory: ReadonlySet<string> = new Set(["session.history.truncate", "session.history.rewind"]);

export const createHeldRecord = (options: {
  readonly services: Pick<HostServices, "store" | "log" | "githubRoutes">;
  readonly row: SessionRow;
  readonly policy: Policy;
  /** In which the session was last taken out of the store here: a record of an older one is not stored. */
  readonly epoch: () => number | undefined;
  /** What the runtime says of the session's model; undefined when the session is in none. */
  readonly currentModel: () => Promise<unknown> | undefined;
}): HeldRecord => {
  const { services, row, policy } = options;
  const { store, log } = services;
  let record = parseRecord(row.record);
  let credentials: Credentials = { ownInference: false, githubToken: undefined, routes: [], servers: {} };
  let saving: Promise<void> = Promise.resolve();
  /** The record that the store has or is being given. */
  let stored: SessionRecord | undefined;
  const pathApprovals = createPathApprovals();

  /** Of a one-shot session nothing that was said is written down: a deleted row stays readable in a database's files. */
  const save = (): Promise<void> => {
    if (record === stored) return saving;
    const now = record;
    stored = now;
    saving = store.sessions
      .update(
        row.id,
        {
          // Before anything is said a runtime writes no history: a session that has left its memory is unknown to it.
          createdUpstream: now.unwritten === undefined,
          ...(!row.ephemeral && { record: JSON.stringify(now) }),
        },
        options.epoch(),
      )
      .catch((error) => {
        stored = undefined;
        throw error;
      });
    return saving;
  };

  /** What could not be written once is tried again: the record has it all. */
  const saved = (): Promise<void> => saving.catch(() => save());

  const change = async (next: SessionRecord): Promise<void> => {
    if (next === record) return;
    record = next;
    await save();
  };

  return {
    get record() {
      return record;
    },
    get grant() {
      return grantOf(policy, credentials, services.githubRoutes);
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
      return save();
    },
    async foldOptions(changed) {
      record = recordAfterOptions(record, changed);
      await save();
    },
    async foldProviders(shown) {
      record = recordAfterProviders(record, shown);
      await save();
    },
    async foldCall(method, params, result) {
      const model = cutsHistory.has(method) && (await options.currentModel());
      await change(recordAfterModel(recordAfterCall(record, method, params, result), model));
    },
    foldEvent(type, data, agentId) {
      change(pathApprovals(recordAfterEvent(record, type, data, agentId), type, data)).catch((error) =>
        log.error({ session: row.id, error }, "a change of the session was not stored"),
      );
    },
    save,
    saved,
  };
};
