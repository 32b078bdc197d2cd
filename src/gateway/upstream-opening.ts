import { isDeepStrictEqual } from "node:util";
import type { Policy } from "../config/config.ts";
import type { HttpSessions } from "../config/http-sessions.ts";
import type { Runtime } from "../fleet/fleet.ts";
import { SquadronError } from "../kernel/errors.ts";
import { isObject, type JsonObject } from "../kernel/json.ts";
import { judgeCall } from "../policy/judge.ts";
import { optionsPatch } from "../policy/session-parameters.ts";
import { callsOnWake } from "../sessions/record.ts";
import type { Log } from "../telemetry/log.ts";
import type { Webhooks } from "../webhooks/webhooks.ts";
import type { Envelope } from "../wire/envelope.ts";
import { RpcError } from "../wire/rpc-error.ts";
import type { HeldRecord } from "./held-record.ts";
import { interestHandle } from "./interests.ts";
import { upstreamParameters } from "./upstream-parameters.ts";
import type { Attachment } from "./vocabulary.ts";

/** Opens a session in a runtime that has its files, with its record and what its clients have declared. */
export interface UpstreamOpening {
  /** The runtime's answer to the last create or resume. */
  readonly lastOpened: JsonObject;
  /** Has nothing else been declared since the last time? */
  readonly current: boolean;
  /** `opened`: by a client, whose record is to be stored. */
  open(
    runtime: Runtime,
    method: "session.create" | "session.resume",
    extra: JsonObject,
    opened: boolean,
  ): Promise<void>;
  /** The runtime's answer to an update that sets only what the session has just been opened with; else undefined. */
  answerTo(options: JsonObject): Envelope | undefined;
  /** Something has been called since the session was opened. */
  called(): void;
  /** What was changed since the session was made and is in no file, in the order in which it was changed. */
  replay(runtime: Runtime): Promise<void>;
}

const isMissingDirectory = (error: unknown): boolean =>
  error instanceof RpcError && error.message.includes("Directory does not exist");

export const createUpstreamOpening = (options: {
  readonly session: string;
  readonly policy: Policy;
  readonly held: HeldRecord;
  readonly attachments: readonly Attachment[];
  readonly webhooks: Webhooks;
  /** All that the attachments declare now. */
  readonly declared: () => JsonObject;
  readonly call: (
    runtime: Runtime,
    method: string,
    params: Readonly<Record<string, unknown>>,
  ) => Promise<Envelope>;
  readonly log: Log;
}): UpstreamOpening => {
  const { session, policy, held, attachments, declared, call, log } = options;
  let lastOpened: JsonObject = {};
  let openedWith = "";
  let told: { readonly options: Readonly<Record<string, unknown>>; readonly answer: Envelope } | undefined;

  /** The policy may have been narrowed since. */
  const isAllowed = (method: string, params: JsonObject): boolean => {
    try {
      judgeCall(policy, method, { ...params, sessionId: session });
      return true;
    } catch (error) {
      if (error instanceof SquadronError) return false;
      throw error;
    }
  };

  /** What the policy gives, as far as it can be had just now. */
  const given = async (): Promise<HttpSessions | undefined> => {
    const all = held.given;
    if (all === undefined || Object.keys(all.mcpServers).length === 0) return all;
    return { ...all, mcpServers: await options.webhooks.answering(all.mcpServers) };
  };

  return {
    get lastOpened() {
      return lastOpened;
    },
    get current() {
      return JSON.stringify(declared()) === openedWith;
    },
    async open(runtime, method, extra, opened) {
      const provided = await given();
      const united = declared();
      const open = () =>
        call(runtime, method, {
          // Each process has its own, and a session is not to look for an earlier one's.
          workingDirectory: runtime.inside.work,
          ...upstreamParameters(policy, held.record.parameters, united, held.memory.credentials, provided),
          ...extra,
        });
      held.enter(runtime.inside);
      const opening = open();
      // The store's disk works while the runtime does.
      if (opened) held.saveMeanwhile();
      const answer = await opening.catch((error) => {
        // Better without it than never again.
        if (!isMissingDirectory(error) || method === "session.create") throw error;
        held.loseDirectory();
        return open();
      });
      const result = answer.result();
      lastOpened = isObject(result) ? (result as JsonObject) : {};
      openedWith = JSON.stringify(united);
      const changed = held.record.options;
      const updated = { ...changed, ...optionsPatch(policy, changed) };
      told = undefined;
      told = { options: updated, answer: await call(runtime, "session.options.update", updated) };
      const interests = attachments.flatMap((attachment) => [...attachment.interests.values()]);
      await Promise.all(
        interests.map(async (interest) => {
          const { eventType } = interest;
          interest.handle = interestHandle(
            await call(runtime, "session.eventLog.registerInterest", { eventType }),
          );
        }),
      );
    },
    answerTo(options) {
      const known = told;
      const names = Object.keys(options);
      return known !== undefined &&
        names.every((name) => isDeepStrictEqual(options[name], known.options[name]))
        ? known.answer
        : undefined;
    },
    called() {
      told = undefined;
    },
    async replay(runtime) {
      for (const { method, params, approved } of callsOnWake(held.record)) {
        if (approved !== true && !isAllowed(method, params)) continue;
        await call(runtime, method, params).catch((error) => {
          if (!(error instanceof RpcError)) throw error;
          log.warn({ session, method, error }, "a setting of the session could not be made again");
        });
      }
    },
  };
};
