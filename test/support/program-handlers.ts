import type { PermissionRequest, PermissionRequestResult, SessionConfig } from "@github/copilot-sdk";

/** A call of a handler: by which client's, which handler, with what. */
export interface HandlerCall {
  readonly client: string;
  readonly handler: string;
  readonly input: unknown;
}
export type Handlers = Pick<
  SessionConfig,
  "tools" | "hooks" | "onPermissionRequest" | "onUserInputRequest" | "onElicitationRequest"
>;

/** The handlers of one client of the session program: each notes its call and answers from the call alone. */
export const handlersOf = (client: string, note: (call: HandlerCall) => void): Handlers => {
  const noted = (handler: string, input: unknown): void => note({ client, handler, input });
  const tool = (name: string, skipPermission: boolean) => ({
    name,
    description: `The program's tool ${name}.`,
    parameters: { type: "object", properties: { q: { type: "string" } } },
    skipPermission,
    handler: (args: unknown) => {
      noted(`tool ${name}`, args);
      return `${name} found ${JSON.stringify(args)}`;
    },
  });
  return {
    tools: [tool("lookup", true), tool("guarded", false)],
    hooks: {
      onUserPromptSubmitted: (input) => {
        noted("onUserPromptSubmitted", input);
        return input.prompt === "rewrite me"
          ? { modifiedPrompt: "[[echo rewritten by the hook]]" }
          : undefined;
      },
      onPreToolUse: (input) => {
        noted("onPreToolUse", input);
        return JSON.stringify(input.toolArgs).includes("change me")
          ? { modifiedArgs: { q: "changed" } }
          : undefined;
      },
      onPostToolUse: (input) => noted("onPostToolUse", input),
      onSessionStart: (input) => noted("onSessionStart", input),
      onSessionEnd: (input) => noted("onSessionEnd", input),
    },
    onPermissionRequest: (request: PermissionRequest): PermissionRequestResult => {
      noted("onPermissionRequest", request);
      return JSON.stringify(request).includes("refuse me") ? { kind: "reject" } : { kind: "approve-once" };
    },
    onUserInputRequest: (request) => {
      noted("onUserInputRequest", request);
      return { answer: request.choices?.[1] ?? "free text", wasFreeform: request.choices === undefined };
    },
    onElicitationRequest: (request) => {
      noted("onElicitationRequest", request);
      return { action: "accept", content: { confirmed: true, selection: "blue", value: "typed" } };
    },
  };
};
