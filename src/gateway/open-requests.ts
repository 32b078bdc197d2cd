import type { Clock } from "../kernel/clock.ts";
import { isObject, type JsonObject } from "../kernel/json.ts";
import { declares } from "./declarations.ts";
import type { Attachment, Connection } from "./vocabulary.ts";

/** A request that the runtime makes as an event and that a client answers with a call. */
interface RequestKind {
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
  /** What we answer when nobody did in time. */
  answer(requestId: string): { readonly method: string; readonly params: JsonObject };
}

const noAnswer = "Nobody answered in time.";

export const requestKinds: Readonly<Record<string, RequestKind>> = {
  "external_tool.requested": {
    answerable: (attachment, data) => declares(attachment.declarations, "tools", data.toolName),
    shownTo: "asked and unable",
    othersMayAnswer: true,
    answer: (requestId) => ({
      method: "session.tools.handlePendingToolCall",
      params: { requestId, error: noAnswer },
    }),
  },
  "permission.requested": {
    answerable: (attachment) => attachment.declarations.flags.has("requestPermission"),
    shownTo: "all",
    othersMayAnswer: false,
    answer: (requestId) => ({
      method: "session.permissions.handlePendingPermissionRequest",
      params: { requestId, result: { kind: "user-not-available" } },
    }),
  },
  "elicitation.requested": {
    answerable: (attachment) => attachment.declarations.flags.has("requestElicitation"),
    shownTo: "all",
    othersMayAnswer: false,
    answer: (requestId) => ({
      method: "session.ui.handlePendingElicitation",
      params: { requestId, result: { action: "cancel" } },
    }),
  },
  "command.execute": {
    answerable: (attachment, data) => declares(attachment.declarations, "commands", data.commandName),
    shownTo: "asked",
    othersMayAnswer: false,
    answer: (requestId) => ({
      method: "session.commands.handlePendingCommand",
      params: { requestId, error: noAnswer },
    }),
  },
  "mcp.oauth_required": {
    answerable: (attachment) =>
      [...attachment.interests.values()].some(({ eventType }) => eventType === "mcp.oauth_required"),
    shownTo: "asked",
    othersMayAnswer: false,
    answer: (requestId) => ({
      method: "session.mcp.oauth.handlePendingRequest",
      params: { requestId, result: { kind: "cancelled" } },
    }),
  },
};

const completions: ReadonlySet<string> = new Set([
  "external_tool.completed",
  "permission.completed",
  "elicitation.completed",
  "command.completed",
  "mcp.oauth_completed",
]);

/** Event types that open or close a request. */
export const requestEventTypes: ReadonlySet<string> = new Set([...Object.keys(requestKinds), ...completions]);

/** Calls that answer such a request. */
export const answerMethods: ReadonlySet<string> = new Set(
  Object.values(requestKinds).map((kind) => kind.answer("").method),
);

/** The requests of one session that wait for a client, each with the deadline after which we answer. */
export interface OpenRequests {
  readonly size: number;
  opened(type: string, data: unknown, asked: Attachment | undefined): void;
  /** Only the one that was asked may answer, for as long as it is attached; see `othersMayAnswer`. */
  mayAnswer(requestId: unknown, connection: Connection): boolean;
  closed(data: unknown): void;
  clear(): void;
}

export const createOpenRequests = (options: {
  readonly clock: Clock;
  readonly deadlineMs: number;
  readonly answer: (method: string, params: JsonObject) => void;
}): OpenRequests => {
  const open = new Map<
    string,
    { readonly kind: RequestKind; readonly asked: Attachment | undefined; cancelDeadline(): void }
  >();
  const idOf = (data: unknown): string | undefined =>
    isObject(data) && typeof data.requestId === "string" ? data.requestId : undefined;
  return {
    get size() {
      return open.size;
    },
    mayAnswer(requestId, connection) {
      const request = typeof requestId === "string" ? open.get(requestId) : undefined;
      if (request === undefined || request.asked === undefined || request.kind.othersMayAnswer) return true;
      return (
        request.asked.connection === connection || !request.asked.host.attachments.includes(request.asked)
      );
    },
    opened(type, data, asked) {
      const id = idOf(data);
      const kind = requestKinds[type];
      if (id === undefined || kind === undefined || open.has(id)) return;
      if (isObject(data) && data.resolvedByHook === true) return;
      const cancelDeadline = options.clock.after(options.deadlineMs, () => {
        open.delete(id);
        const { method, params } = kind.answer(id);
        options.answer(method, params);
      });
      open.set(id, { kind, asked, cancelDeadline });
    },
    closed(data) {
      const id = idOf(data);
      if (id === undefined) return;
      open.get(id)?.cancelDeadline();
      open.delete(id);
    },
    clear() {
      for (const { cancelDeadline } of open.values()) cancelDeadline();
      open.clear();
    },
  };
};
