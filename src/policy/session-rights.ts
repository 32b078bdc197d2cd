import { SquadronError } from "../kernel/errors.ts";
import { isObject } from "../kernel/json.ts";
import type { SessionRole } from "../store/store.ts";

/** A role in a session, or that of its founder, who alone changes what it is resumed with. */
export type Standing = SessionRole | "founder";

/** What somebody needs to be in a session, beside what the policy allows them at all. */
export interface Part {
  readonly role: SessionRole;
  readonly founder: boolean;
}

const ranks: Readonly<Record<Standing, number>> = { reader: 0, writer: 1, owner: 2, founder: 3 };

export const standingOf = ({ role, founder }: Part): Standing => (founder ? "founder" : role);

/** Is what `has` may do at least what `needed` may? */
export const suffices = (has: Standing, needed: Standing): boolean => ranks[has] >= ranks[needed];

/**
 * The least that a method of the protocol needs; what is not named here changes the record, reaches the founder's files,
 * servers or shell, or tells of them, and is the founder's alone.
 */
const needs: Readonly<Record<string, Standing>> = {
  // To attach, to leave again, and to learn what is said.
  "session.create": "reader",
  "session.resume": "reader",
  "session.detach": "reader",
  "session.destroy": "reader",
  "sessions.close": "reader",
  "session.getMessages": "reader",
  "session.eventLog.read": "reader",
  "session.eventLog.tail": "reader",
  "session.getMetadata": "reader",
  "sessions.getMetadata": "reader",
  "sessions.checkInUse": "reader",
  // SDK clients answer whatever they see; who may not is told that it did not count, as whoever was not asked.
  "session.tools.handlePendingToolCall": "reader",
  "session.permissions.handlePendingPermissionRequest": "reader",
  "session.ui.handlePendingElicitation": "reader",
  "session.name.get": "reader",
  "session.metadata.isProcessing": "reader",
  // SDK clients send these by themselves when they attach; see `ignoredOf`.
  "session.options.update": "reader",
  "session.eventLog.registerInterest": "reader",
  "session.eventLog.releaseInterest": "reader",

  "session.send": "writer",
  "session.abort": "writer",
  "session.queue.pendingItems": "writer",
  "session.queue.removeMostRecent": "writer",
  "session.queue.clear": "writer",

  "session.name.set": "owner",
  "session.delete": "owner",
  "sessions.delete": "owner",
  "sessions.bulkDelete": "owner",
};

export const neededFor = (method: string): Standing =>
  (Object.hasOwn(needs, method) ? needs[method] : undefined) ?? "founder";

const called: Readonly<Record<Standing, string>> = {
  reader: "a reader",
  writer: "a writer",
  owner: "an owner",
  founder: "its founder",
};

/** `forbidden`, naming the role that somebody has in the session and the one that is needed. */
export const roleForbids = (part: Part, needed: Standing, what: string): SquadronError => {
  const role = standingOf(part);
  return new SquadronError(
    "forbidden",
    `You take part in this session as ${called[role]}; ${what} needs ${called[needed]}.`,
    { details: { role, needed } },
  );
};

/** Throws `forbidden` unless this part suffices. */
export const assertMay = (part: Part, needed: Standing, what: string): void => {
  if (!suffices(standingOf(part), needed)) throw roleForbids(part, needed, what);
};

/** What a message of a participant may have; its attachments must be bytes, since paths lead to the founder's files. */
const messageParts: ReadonlySet<string> = new Set([
  ...["prompt", "attachments", "mode", "requiredTool", "responseFormat", "traceparent", "tracestate"],
]);

const isBlob = (attachment: unknown): boolean => isObject(attachment) && attachment.type === "blob";

/** Throws `forbidden` when a message says more than one who has not founded the session may say. */
export const assertMayAsk = (part: Part, message: Readonly<Record<string, unknown>>): void => {
  if (part.founder) return;
  for (const [name, value] of Object.entries(message)) {
    if (!messageParts.has(name) && !(name === "agentMode" && value === "interactive"))
      throw roleForbids(part, "founder", `sending a message with ${name}`);
  }
  const { attachments } = message;
  if (Array.isArray(attachments) && !attachments.every(isBlob))
    throw roleForbids(part, "founder", "attaching anything but bytes (type blob)");
};

/** Decisions about what is asked and nothing else; all others become a part of what the session is resumed with. */
const onceOnly: ReadonlySet<string> = new Set([
  ...["approve-once", "approved", "reject", "user-not-available", "cancelled"],
]);

/** Throws `forbidden` when one who has not founded the session decides for longer than this once. */
export const assertMayDecide = (part: Part, decision: unknown): void => {
  const kind = isObject(decision) ? String(decision.kind) : "";
  if (part.founder || onceOnly.has(kind) || kind.startsWith("denied-")) return;
  throw roleForbids(part, "founder", "deciding for longer than this once");
};
