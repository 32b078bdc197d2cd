import type { Clock } from "../kernel/clock.ts";
import { withDeadline } from "../kernel/deadline.ts";
import type { JsonObject } from "../kernel/json.ts";
import type { Log } from "../telemetry/log.ts";
import { countedOf, type Declarations, splitParameters, watcherDeclares } from "./declarations.ts";
import type { InOrder } from "./in-order.ts";
import type { SessionAccess } from "./session-access.ts";
import type { SessionStay } from "./session-stay.ts";
import type { SessionUpstream } from "./session-upstream.ts";
import type { Attachment, Connection, Opening, SessionHost } from "./vocabulary.ts";

/** Who holds the session, and how they come and go. */
export interface SessionAttachments {
  open: SessionHost["open"];
  watch: SessionHost["watch"];
  detach: SessionHost["detach"];
  /** Takes the user's attachments from them at once; gives them back, for their clients to be told. */
  expel(user: string): readonly Attachment[];
  /** What counts of the user's declarations is another thing in another role. */
  roleChanged(user: string): void;
  /** The attachment whose client last said what the session is resumed with. */
  readonly recordWriter: Attachment | undefined;
  /** The last client that left spoke the SDK's protocol: the session leaves memory when idle, as on a bare runtime. */
  readonly leaveWhenIdle: boolean;
}

/** How long a client's changes may take when it has gone without waiting for their answers. */
const changesWithinMs = 5_000;

const pick = (from: Readonly<Record<string, unknown>>, names: readonly string[]): JsonObject =>
  Object.fromEntries(
    Object.entries(from).filter(([name, value]) => names.includes(name) && value !== undefined),
  ) as JsonObject;

export const createSessionAttachments = (options: {
  /** Kept here, read by others. */
  readonly attachments: Attachment[];
  readonly host: () => SessionHost;
  readonly access: SessionAccess;
  readonly upstream: SessionUpstream;
  readonly stay: SessionStay;
  readonly inOrder: InOrder;
  /** Does a turn run? */
  readonly hasTurn: () => boolean;
  readonly onOpened: () => void;
  /** Somebody has attached or left. */
  readonly onMoved: () => void;
  /** An attachment has gone, or may answer nothing any more; `successor`: its client is attached anew. */
  readonly onLeft: (attachment: Attachment, successor?: Attachment) => void;
  /** Resolves when no change that was sent to the runtime is open. */
  readonly changed: () => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
}): SessionAttachments => {
  const { attachments, upstream, stay, inOrder, clock, log } = options;
  let recordWriter: Attachment | undefined;
  let leaveWhenIdle = false;

  const remove = (attachment: Attachment): void => {
    const at = attachments.indexOf(attachment);
    if (at >= 0) attachments.splice(at, 1);
    if (recordWriter === attachment) recordWriter = undefined;
    options.onMoved();
  };

  const attachmentOf = (connection: Connection): Attachment | undefined =>
    attachments.find((attachment) => attachment.connection === connection);

  const attach = (connection: Connection, name: string, declarations: Declarations): Attachment => {
    const part = options.access.assertPart(connection.principal);
    const attachment: Attachment = {
      connection,
      host: options.host(),
      name,
      ...part,
      offered: declarations,
      declarations: countedOf(declarations, part),
      interests: new Map(),
    };
    const earlier = attachmentOf(connection);
    if (earlier !== undefined) remove(earlier);
    attachments.push(attachment);
    if (earlier !== undefined) options.onLeft(earlier, attachment);
    leaveWhenIdle = false;
    options.onMoved();
    return attachment;
  };

  /** What a failed opening had taken the place of, if its user still takes part, as what the user is now. */
  const putBack = (attachment: Attachment | undefined): Attachment | undefined => {
    const part = attachment && options.access.partOf(attachment.connection.principal);
    if (attachment === undefined || part === undefined) return undefined;
    attachment.role = part.role;
    attachment.declarations = countedOf(attachment.offered, part);
    attachments.push(attachment);
    options.onMoved();
    return attachment;
  };

  const openAs = async (attachment: Attachment, opening: Opening, recorded: JsonObject): Promise<void> => {
    if (!attachment.founder) {
      await upstream.wake();
      return upstream.refresh();
    }
    const trace = pick(opening.parameters, ["traceparent", "tracestate"]);
    if (opening.kind === "create" && upstream.created) {
      upstream.held.lend(opening.githubToken);
      recordWriter ??= attachment;
      await upstream.wake();
      return upstream.refresh();
    }
    upstream.held.remember(recorded, opening);
    recordWriter = attachment;
    if (opening.kind === "create") return upstream.create(trace);
    return upstream.resume({
      ...trace,
      ...pick(opening.parameters, ["disableResume", "continuePendingWork"]),
    });
  };

  /** The runtime learns it soon; nobody waits for that. */
  const declaredChanged = (): void => {
    const tellRuntime = async (): Promise<void> => {
      if (attachments.length > 0) await upstream.refresh();
      else stay.sleepLater();
    };
    inOrder
      .run(tellRuntime)
      .catch((error) =>
        log.warn({ session: options.host().row.id, error }, "a runtime kept old declarations"),
      );
  };

  return {
    open: (connection, name, opening) =>
      inOrder.run(async () => {
        const { declarations, recorded } = splitParameters(opening.parameters);
        stay.forgetDead();
        await upstream.claim();
        const before = { memory: upstream.held.memory, attachment: attachmentOf(connection), recordWriter };
        const attachment = attach(connection, name, declarations);
        try {
          await openAs(attachment, opening, recorded);
          await upstream.held.save();
          options.onOpened();
        } catch (error) {
          upstream.held.restore(before.memory);
          upstream.held.saveMeanwhile();
          // Others may have begun to watch meanwhile.
          remove(attachment);
          options.onLeft(attachment, putBack(before.attachment));
          recordWriter = before.recordWriter;
          throw error;
        } finally {
          stay.used();
          stay.sleepLater();
        }
        return { attachment, result: upstream.lastOpened };
      }),
    watch: (connection, name) => attach(connection, name, watcherDeclares),
    detach: (attachment, how = "detach") =>
      inOrder.run(async () => {
        if (!attachments.includes(attachment)) return;
        const last = attachments.length === 1;
        // What a participant leaves behind goes on as the founder has left it.
        if (last && attachment.founder) {
          leaveWhenIdle = attachment.connection.link.kind === "sdk";
          if (leaveWhenIdle && !options.hasTurn()) {
            await withDeadline(options.changed(), {
              clock,
              ms: changesWithinMs,
              what: "What a client had still asked for",
            }).catch((error) => log.info({ session: options.host().row.id, error }, "a client did not wait"));
            await upstream
              .leave(how)
              .catch((error) =>
                log.warn(
                  { session: options.host().row.id, error },
                  "the session could not leave its runtime",
                ),
              );
          }
        }
        remove(attachment);
        options.onLeft(attachment);
        if (!last) return upstream.refresh();
        stay.sleepLater();
      }),
    expel(user) {
      const theirs = attachments.filter(({ connection }) => connection.principal.user === user);
      for (const attachment of theirs) {
        remove(attachment);
        const { connection, name } = attachment;
        if (connection.attachments.get(name) === attachment) connection.attachments.delete(name);
        options.onLeft(attachment);
      }
      if (theirs.length > 0) declaredChanged();
      return theirs;
    },
    roleChanged(user) {
      const theirs = attachments.filter(({ connection }) => connection.principal.user === user);
      for (const attachment of theirs) {
        const part = options.access.assertPart(attachment.connection.principal);
        attachment.role = part.role;
        attachment.declarations = countedOf(attachment.offered, part);
        if (part.role === "reader") options.onLeft(attachment);
      }
      if (theirs.length > 0) declaredChanged();
    },
    get recordWriter() {
      return recordWriter;
    },
    get leaveWhenIdle() {
      return leaveWhenIdle && attachments.length === 0;
    },
  };
};
