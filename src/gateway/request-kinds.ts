import type { JsonObject } from "../kernel/json.ts";
import { declares } from "./declarations.ts";
import type { PersonalKind } from "./request-answers.ts";
import type { Attachment } from "./vocabulary.ts";

/** A request that the runtime makes as an event and that a client answers with a call. */
export interface RequestKind {
  /** What it is to people; undefined: only programs answer it. */
  readonly personal: PersonalKind | undefined;
  /** Can this attachment answer it? */
  answerable(attachment: Attachment, data: Record<string, unknown>): boolean;
  /**
   * Who sees the event. Whoever sees a tool call that it declared executes it, so of those only the one that is asked;
   * whoever sees a command or a sign-in without a handler answers with an error, so nobody else at all.
   */
  readonly shownTo: "all" | "asked and unable" | "asked";
  /**
   * May another attachment of the session answer for the asked one? An SDK client answers permission requests and
   * elicitations by itself whenever it sees them; the result of a tool that it does not have it sends only on purpose.
   */
  readonly othersMayAnswer: boolean;
  /** The call that answers it. */
  readonly method: string;
  /** Its parameters, beside the request's id, when nobody answered in time. */
  readonly unanswered: JsonObject;
}

const noAnswer = "Nobody answered in time.";

/** By the type of the event. */
export const requestKinds: Readonly<Record<string, RequestKind>> = {
  "external_tool.requested": {
    personal: "tool_call",
    answerable: (attachment, data) => declares(attachment.declarations, "tools", data.toolName),
    shownTo: "asked and unable",
    othersMayAnswer: true,
    method: "session.tools.handlePendingToolCall",
    unanswered: { error: noAnswer },
  },
  "permission.requested": {
    personal: "permission",
    answerable: (attachment) => attachment.declarations.flags.has("requestPermission"),
    shownTo: "all",
    othersMayAnswer: false,
    method: "session.permissions.handlePendingPermissionRequest",
    unanswered: { result: { kind: "user-not-available" } },
  },
  "elicitation.requested": {
    personal: "elicitation",
    answerable: (attachment) => attachment.declarations.flags.has("requestElicitation"),
    shownTo: "all",
    othersMayAnswer: false,
    method: "session.ui.handlePendingElicitation",
    unanswered: { result: { action: "cancel" } },
  },
  "command.execute": {
    personal: undefined,
    answerable: (attachment, data) => declares(attachment.declarations, "commands", data.commandName),
    shownTo: "asked",
    othersMayAnswer: false,
    method: "session.commands.handlePendingCommand",
    unanswered: { error: noAnswer },
  },
  "mcp.oauth_required": {
    personal: undefined,
    answerable: (attachment) =>
      [...attachment.interests.values()].some(({ eventType }) => eventType === "mcp.oauth_required"),
    shownTo: "asked",
    othersMayAnswer: false,
    method: "session.mcp.oauth.handlePendingRequest",
    unanswered: { result: { kind: "cancelled" } },
  },
};

/** Event types that tell the end of such a request. */
export const completions: ReadonlySet<string> = new Set([
  "external_tool.completed",
  "permission.completed",
  "elicitation.completed",
  "command.completed",
  "mcp.oauth_completed",
]);

/** Event types that open or close a request. User input is asked for by a callback as well, and answered there. */
export const requestEventTypes: ReadonlySet<string> = new Set([
  ...Object.keys(requestKinds),
  ...completions,
  "user_input.requested",
  "user_input.completed",
]);

/** Is this a call that answers a request of the runtime? */
export const isAnswer = (method: string): boolean => /\.handlePending\w*$/.test(method);
