import { type Json, list, record, shown, text } from "./json.ts";

export interface SentFile {
  readonly name: string;
  readonly type: string;
}

/** What somebody has sent. */
export interface Message {
  readonly turnId: string;
  readonly sender: string | null;
  readonly content: string;
  readonly at: string;
  readonly files: readonly SentFile[];
}

/** One event of the history, as far as it is shown. Each has its place: a rewind may name any of them. */
export type Fact =
  | (Message & { readonly kind: "user"; readonly id: string })
  | {
      readonly kind: "assistant";
      readonly id: string;
      readonly messageId: string;
      readonly content: string;
      readonly at: string;
    }
  | {
      readonly kind: "tool";
      readonly id: string;
      readonly callId: string;
      readonly name: string;
      readonly args: string;
    }
  | {
      readonly kind: "tool-result";
      readonly id: string;
      readonly callId: string;
      readonly ok: boolean;
      readonly result: string;
    }
  /** What has become of a permission request. */
  | {
      readonly kind: "decision";
      readonly id: string;
      readonly request: string;
      readonly allowed: boolean;
    }
  | { readonly kind: "other"; readonly id: string };

const fileOf = (value: unknown): SentFile => {
  const { displayName, mimeType } = record(value);
  return { name: text(displayName) || "file", type: text(mimeType) };
};

const resultOf = (data: Json): string => {
  const result = record(data.result);
  return text(result.detailedContent) || text(result.content) || text(record(data.error).message);
};

/** The fact that an event of the stream is; undefined for what is in no history. */
export const factOf = (name: string, event: Json): Fact | undefined => {
  const id = text(event.id);
  if (id === "" || event.ephemeral === true) return undefined;
  const data = record(event.data);
  const other: Fact = { kind: "other", id };
  // What sub-agents say to each other is no part of the conversation.
  if (event.agentId !== undefined || data.parentToolCallId !== undefined) return other;
  switch (name) {
    case "user.message":
      return {
        kind: "user",
        id,
        turnId: text(data.messageId) || id,
        sender: text(event.sender) || null,
        content: text(data.content),
        at: text(event.timestamp),
        files: list(data.attachments).map(fileOf),
      };
    case "assistant.message": {
      const [messageId, content, at] = [text(data.messageId), text(data.content), text(event.timestamp)];
      return { kind: "assistant", id, messageId: messageId || id, content, at };
    }
    case "tool.execution_start":
      return {
        kind: "tool",
        id,
        callId: text(data.toolCallId),
        name: text(data.mcpToolName) || text(data.toolName),
        args: shown(data.arguments),
      };
    case "tool.execution_complete": {
      const callId = text(data.toolCallId);
      return { kind: "tool-result", id, callId, ok: data.success === true, result: resultOf(data) };
    }
    case "permission.completed": {
      const allowed = text(record(data.result).kind).startsWith("approved");
      return { kind: "decision", id, request: text(data.requestId), allowed };
    }
    default:
      return other;
  }
};
