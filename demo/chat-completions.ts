import { isObject } from "../src/kernel/json.ts";
import type { Message, Usage } from "./script.ts";
import { requestOf, textOf, toolNames, type WireFormat } from "./wire-format.ts";

const roles: Readonly<Record<string, Message["role"]>> = {
  system: "system",
  developer: "system",
  user: "user",
  assistant: "assistant",
  tool: "tool",
};

const usageOf = (usage: Usage) => ({
  prompt_tokens: usage.input,
  completion_tokens: usage.output,
  total_tokens: usage.input + usage.output,
});

const event = (data: unknown): string => `data: ${JSON.stringify(data)}\n\n`;

/** OpenAI's `POST /chat/completions`. */
export const chatCompletions: WireFormat = {
  read: (body) => {
    const request = requestOf(body);
    const messages = (Array.isArray(request.messages) ? request.messages : []).flatMap(
      (message): Message[] => {
        const role = isObject(message) && typeof message.role === "string" ? roles[message.role] : undefined;
        return role && isObject(message) ? [{ role, text: textOf(message.content) }] : [];
      },
    );
    return {
      model: request.model,
      stream: request.stream === true,
      messages,
      tools: toolNames(request.tools),
    };
  },

  whole: ({ id, model, text, call, usage }) => ({
    id,
    object: "chat.completion",
    created: 0,
    model,
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: call ? null : text,
          ...(call && {
            tool_calls: [
              { id: call.id, type: "function", function: { name: call.tool, arguments: call.args } },
            ],
          }),
        },
        finish_reason: call ? "tool_calls" : "stop",
      },
    ],
    usage: usageOf(usage),
  }),

  stream: (id, model) => {
    const chunk = (delta: unknown, finish: string | null = null, more: object = {}): string =>
      event({
        id,
        object: "chat.completion.chunk",
        created: 0,
        model,
        choices: [{ index: 0, delta, finish_reason: finish }],
        ...more,
      });
    return {
      start: () => chunk({ role: "assistant", content: "" }),
      chunk: (text) => chunk({ content: text }),
      end: ({ call, usage }) => {
        const calls = call && [
          { index: 0, id: call.id, type: "function", function: { name: call.tool, arguments: call.args } },
        ];
        const last = chunk({}, call ? "tool_calls" : "stop", { usage: usageOf(usage) });
        return `${calls ? chunk({ tool_calls: calls }) : ""}${last}data: [DONE]\n\n`;
      },
    };
  },
};
