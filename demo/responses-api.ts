import { isObject } from "../src/kernel/json.ts";
import type { Message } from "./script.ts";
import { type Reply, requestOf, textOf, toolNames, type WireFormat } from "./wire-format.ts";

const messageOf = (item: unknown): Message[] => {
  if (!isObject(item)) return [];
  if (item.type === "function_call_output")
    return [{ role: "tool", text: typeof item.output === "string" ? item.output : textOf(item.output) }];
  if (item.type === "function_call") return [{ role: "assistant", text: "" }];
  const { role } = item;
  if (role === "developer") return [{ role: "system", text: textOf(item.content) }];
  if (role !== "system" && role !== "user" && role !== "assistant") return [];
  return [{ role, text: textOf(item.content) }];
};

const messageItem = (id: string, text: string) => ({
  type: "message",
  id: `msg_${id}`,
  role: "assistant",
  status: "completed",
  content: [{ type: "output_text", text, annotations: [] }],
});

const callItem = (call: NonNullable<Reply["call"]>) => ({
  type: "function_call",
  id: `fc_${call.id}`,
  call_id: call.id,
  name: call.tool,
  arguments: call.args,
  status: "completed",
});

const responseOf = (id: string, model: string, status: string, output: readonly unknown[]) => ({
  id,
  object: "response",
  created_at: 0,
  model,
  status,
  output,
  error: null,
  incomplete_details: null,
  parallel_tool_calls: false,
  tool_choice: "auto",
  tools: [],
});

const completed = (reply: Reply) => ({
  ...responseOf(reply.id, reply.model, "completed", [
    reply.call ? callItem(reply.call) : messageItem(reply.id, reply.text),
  ]),
  usage: {
    input_tokens: reply.usage.input,
    output_tokens: reply.usage.output,
    total_tokens: reply.usage.input + reply.usage.output,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens_details: { reasoning_tokens: 0 },
  },
});

/** OpenAI's `POST /responses`, as much of it as the runtime needs. */
export const responsesApi: WireFormat = {
  read: (body) => {
    const request = requestOf(body);
    const instructions: Message[] =
      typeof request.instructions === "string" ? [{ role: "system", text: request.instructions }] : [];
    const items: Message[] =
      typeof request.input === "string"
        ? [{ role: "user", text: request.input }]
        : (Array.isArray(request.input) ? request.input : []).flatMap(messageOf);
    return {
      model: request.model,
      stream: request.stream === true,
      messages: [...instructions, ...items],
      tools: toolNames(request.tools),
    };
  },

  whole: completed,

  stream: (id, model) => {
    let sequence = 0;
    let open = false;
    const event = (type: string, data: object): string =>
      `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: sequence++, ...data })}\n\n`;
    const place = { item_id: `msg_${id}`, output_index: 0, content_index: 0 };
    const part = (text: string) => ({ type: "output_text", text, annotations: [] });
    const openMessage = (): string => {
      if (open) return "";
      open = true;
      const item = { ...messageItem(id, ""), status: "in_progress", content: [] };
      return (
        event("response.output_item.added", { output_index: 0, item }) +
        event("response.content_part.added", { ...place, part: part("") })
      );
    };
    const closeMessage = (text: string): string =>
      openMessage() +
      event("response.output_text.done", { ...place, text, logprobs: [] }) +
      event("response.content_part.done", { ...place, part: part(text) }) +
      event("response.output_item.done", { output_index: 0, item: messageItem(id, text) });
    const callEvents = (call: NonNullable<Reply["call"]>): string => {
      const item = callItem(call);
      const at = { item_id: item.id, output_index: 0 };
      return (
        event("response.output_item.added", {
          output_index: 0,
          item: { ...item, status: "in_progress", arguments: "" },
        }) +
        event("response.function_call_arguments.delta", { ...at, delta: call.args }) +
        event("response.function_call_arguments.done", { ...at, name: call.tool, arguments: call.args }) +
        event("response.output_item.done", { output_index: 0, item })
      );
    };
    return {
      start: () => event("response.created", { response: responseOf(id, model, "in_progress", []) }),
      chunk: (text) =>
        openMessage() + event("response.output_text.delta", { ...place, delta: text, logprobs: [] }),
      end: (reply) =>
        (reply.call ? callEvents(reply.call) : closeMessage(reply.text)) +
        event("response.completed", { response: completed(reply) }),
    };
  },
};
