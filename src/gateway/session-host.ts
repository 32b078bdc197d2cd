import type { Policy } from "../config/config.ts";
import type { Runtime } from "../fleet/fleet.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Unit } from "../kernel/isolation.ts";
import { isObject, type JsonObject } from "../kernel/json.ts";
import type { SessionRow } from "../store/store.ts";
import { type Declarations, splitParameters, unite, watcherDeclares } from "./declarations.ts";
import { sessionDeleted } from "./deleted.ts";
import { createHeldEnds } from "./held-ends.ts";
import { askAttachment } from "./host-callbacks.ts";
import { createEventIntake } from "./host-events.ts";
import type { HostServices } from "./host-services.ts";
import { createHostTurns } from "./host-turns.ts";
import { runtimeOf } from "./life.ts";
import { createOpenRequests } from "./open-requests.ts";
import { createSessionUpstream, interestHandle } from "./session-upstream.ts";
import { runtimeGone } from "./turn-runner.ts";
import type { Attachment, Connection, Opening, SessionHost } from "./vocabulary.ts";

/** Of one attachment; each is registered again at every wake. */
const maxInterests = 100;

const pick = (from: Readonly<Record<string, unknown>>, names: readonly string[]): JsonObject =>
  Object.fromEntries(
    Object.entries(from).filter(([name, value]) => names.includes(name) && value !== undefined),
  ) as JsonObject;

export const createSessionHost = (options: {
  readonly services: HostServices;
  readonly row: SessionRow;
  readonly name: string;
  readonly policy: Policy;
  readonly renamed: ReadonlyMap<string, string>;
  /** Called when nothing may hold the host any more. */
  readonly onUnused: () => void;
}): SessionHost => {
  const { services, row, policy } = options;
  const { clock, store, log, metrics } = services;
  const unit: Unit = { isolation: row.isolation, key: row.unit };
  const renamed = new Map(options.renamed);
  const attachments: Attachment[] = [];
  let recordWriter: Attachment | undefined;
  let serial: Promise<unknown> = Promise.resolve();
  let queued = 0;
  let cancelIdleTimer = (): void => {};
  /** The last client that left spoke the SDK's protocol: the session leaves memory when idle, as on a bare runtime. */
  let leaveWhenIdle = false;

  const upstream = createSessionUpstream({
    services,
    row,
    unit,
    policy,
    attachments,
    declared: () => unite(attachments.map(({ declarations }) => declarations)),
  });

  /** Operations that change who is attached or where the session is run one after the other. */
  const inOrder = <T>(operation: () => Promise<T>): Promise<T> => {
    queued++;
    const result = serial.then(operation).finally(() => {
      queued--;
      letGo();
    });
    serial = result.catch(() => undefined);
    return result;
  };

  /** Events find the host only while it is known: it is forgotten when nobody waits for it, nor is just about to use it. */
  const letGo = (): void => {
    if (attachments.length > 0) return;
    setImmediate(() => {
      if (queued === 0) options.onUnused();
    });
  };

  const call: SessionHost["call"] = async (method, params) => {
    const runtime =
      upstream.life.kind === "live" ? upstream.life.runtime : await inOrder(() => upstream.wake());
    scheduleSleep();
    return upstream.call(runtime, method, params);
  };

  const openRequests = createOpenRequests({
    clock,
    deadlineMs: policy.limits.callbackTimeoutMs,
    answer: (method, params) => {
      metrics.callback("timeout");
      call(method, params).catch((error) =>
        log.warn({ session: row.id, method, error }, "a default answer was not taken"),
      );
    },
  });

  const settled = (): void => {
    if (leaveWhenIdle && attachments.length === 0) sleepSoon();
    else scheduleSleep();
  };

  const heldEnds = createHeldEnds({ clock, attachments, asks: (connection) => turns.asks(connection) });

  const turns = createHostTurns({
    services,
    policy,
    row,
    attachments,
    call,
    renamed,
    heldEnds,
    onSettled: settled,
  });

  const scheduleSleep = (): void => {
    cancelIdleTimer();
    if (attachments.length === 0 && turns.current === undefined && upstream.life.kind === "live") {
      cancelIdleTimer = clock.after(policy.sessions.hibernateAfterMs, sleepSoon);
    }
  };

  const sleepSoon = (): void => {
    inOrder(async () => {
      cancelIdleTimer();
      if (upstream.life.kind !== "live" || turns.current !== undefined || attachments.length > 0) return;
      await upstream.leave("detach");
      openRequests.clear();
    }).catch((error) => log.warn({ session: row.id, error }, "the session could not leave its runtime"));
  };

  const intake = createEventIntake({
    clock,
    session: row.id,
    attachments,
    turns,
    openRequests,
    heldEnds,
    clientMessageId: (id) => renamed.get(id),
    onEvent: (type, data) => {
      upstream.foldEvent(type, data);
      if (
        !row.ephemeral &&
        type === "session.title_changed" &&
        isObject(data) &&
        typeof data.title === "string"
      ) {
        store.sessions
          .update(row.id, { title: data.title })
          .catch((error) => log.error({ session: row.id, error }, "the title of the session was not stored"));
      }
    },
  });

  const remove = (attachment: Attachment): void => {
    const at = attachments.indexOf(attachment);
    if (at >= 0) attachments.splice(at, 1);
    if (recordWriter === attachment) recordWriter = undefined;
  };

  const attachmentOf = (connection: Connection): Attachment | undefined =>
    attachments.find((attachment) => attachment.connection === connection);

  const attach = (connection: Connection, name: string, declarations: Declarations): Attachment => {
    const attachment: Attachment = { connection, host, name, declarations, interests: new Map() };
    const earlier = attachmentOf(connection);
    if (earlier !== undefined) remove(earlier);
    attachments.push(attachment);
    leaveWhenIdle = false;
    return attachment;
  };

  const open: SessionHost["open"] = (connection, name, opening) =>
    inOrder(async () => {
      const { declarations, recorded } = splitParameters(opening.parameters);
      const before = { memory: upstream.memory, attachment: attachmentOf(connection), recordWriter };
      const attachment = attach(connection, name, declarations);
      try {
        await openAs(attachment, opening, recorded);
        await upstream.save();
      } catch (error) {
        upstream.restore(before.memory);
        // Others may have begun to watch meanwhile.
        remove(attachment);
        if (before.attachment !== undefined) attachments.push(before.attachment);
        recordWriter = before.recordWriter;
        scheduleSleep();
        throw error;
      }
      return { attachment, result: upstream.lastOpened };
    });

  const openAs = async (attachment: Attachment, opening: Opening, recorded: JsonObject): Promise<void> => {
    if (upstream.life.kind === "deleted") throw sessionDeleted();
    const trace = pick(opening.parameters, ["traceparent", "tracestate"]);
    if (opening.kind === "create" && upstream.created) {
      upstream.lend(opening.githubToken);
      recordWriter ??= attachment;
      await upstream.wake();
      return upstream.refresh();
    }
    upstream.remember(recorded, opening);
    recordWriter = attachment;
    if (opening.kind === "create") return upstream.create(trace);
    return upstream.resume({
      ...trace,
      ...pick(opening.parameters, ["disableResume", "continuePendingWork"]),
    });
  };

  const detach: SessionHost["detach"] = (attachment, how = "detach") =>
    inOrder(async () => {
      if (!attachments.includes(attachment)) return;
      const last = attachments.length === 1;
      if (last) {
        leaveWhenIdle = attachment.connection.link.kind === "sdk";
        if (leaveWhenIdle && turns.current === undefined) {
          await upstream
            .leave(how)
            .catch((error) =>
              log.warn({ session: row.id, error }, "the session could not leave its runtime"),
            );
          openRequests.clear();
        }
      }
      remove(attachment);
      if (!last) return upstream.refresh();
      scheduleSleep();
    });

  const host: SessionHost = {
    row,
    unit,
    name: options.name,
    attachments,
    get record() {
      return upstream.record;
    },
    get life() {
      return upstream.life.kind;
    },
    get created() {
      return upstream.created;
    },
    get waiting() {
      return turns.waiting;
    },
    get busy() {
      return turns.current !== undefined || turns.waiting > 0;
    },
    get grant() {
      return upstream.grant;
    },
    get inferenceBy() {
      return upstream.memory.credentials.ownInference ? recordWriter?.connection : undefined;
    },
    get runtime(): Runtime | undefined {
      return runtimeOf(upstream.life);
    },
    open,
    watch: (connection, name) => attach(connection, name, watcherDeclares),
    detach,
    call,
    send: turns.send,
    abort: turns.abort,
    stop: turns.stop,
    async updateOptions(changed) {
      const shown = upstream.shield(changed);
      const frame = await call("session.options.update", shown);
      await upstream.foldOptions(shown);
      return frame;
    },
    async addProviders(params) {
      const shown = upstream.shield(params);
      const frame = await call("session.provider.add", shown);
      await upstream.foldProviders(shown);
      return frame;
    },
    async registerInterest(attachment, eventType) {
      if (attachment.interests.size >= maxInterests)
        throw new SquadronError(
          "rate_limited",
          `This client has ${maxInterests} interests in the session's events; release one first.`,
          { details: { limit: maxInterests } },
        );
      const frame = await call("session.eventLog.registerInterest", { eventType });
      const handle = interestHandle(frame);
      attachment.interests.set(handle, { eventType, handle });
      return frame;
    },
    mayAnswer: openRequests.mayAnswer,
    clientMessageId: (id) => renamed.get(id),
    countTokens: turns.countTokens,
    event: intake,
    callback: (method, params) =>
      askAttachment({
        method,
        params,
        attachments,
        sender: turns.current?.sender,
        recordWriter,
        policy,
        log,
        metrics,
      }),
    runtimeClosed(runtime) {
      if (runtimeOf(upstream.life) !== runtime) return;
      upstream.lost();
      openRequests.clear();
      // One that is still being submitted is told by its own call whether a runtime has got it.
      if (turns.current?.state.kind === "running") turns.interrupt(runtimeGone);
      letGo();
    },
    bury: (remove, may) =>
      inOrder(async () => {
        if (upstream.life.kind === "deleted" || !may(host)) return false;
        await upstream.bury(remove);
        cancelIdleTimer();
        openRequests.clear();
        turns.interrupt("The session has been deleted.");
        return true;
      }),
  };
  return host;
};
