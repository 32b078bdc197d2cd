import type { Json, JsonObject } from "../kernel/json.ts";

/** A person's answer to a question of the runtime, by its kind. */
export type PersonalAnswer =
  | { readonly kind: "permission"; readonly decision: "allow" | "deny"; readonly reason?: string | undefined }
  | { readonly kind: "user_input"; readonly answer: string }
  | {
      readonly kind: "elicitation";
      readonly action: "accept" | "decline" | "cancel";
      readonly content?: JsonObject | undefined;
    }
  | { readonly kind: "tool_call"; readonly result: Json }
  | { readonly kind: "tool_call"; readonly error: string };

/** What a person can be asked. */
export type PersonalKind = PersonalAnswer["kind"];

/** The parameters with which this answer is given to the runtime, beside the request's id; that of user input is a result. */
export const answerParameters = (answer: PersonalAnswer): JsonObject => {
  switch (answer.kind) {
    case "permission":
      return {
        result:
          answer.decision === "allow"
            ? { kind: "approve-once", approvedInteractively: true }
            : { kind: "reject", ...(answer.reason !== undefined && { feedback: answer.reason }) },
      };
    case "user_input":
      return { answer: answer.answer };
    case "elicitation":
      return {
        result: {
          action: answer.action,
          ...(answer.content !== undefined && { content: answer.content }),
        },
      };
    case "tool_call":
      if ("error" in answer) return { error: answer.error };
      // As the SDK does with what a handler returns.
      return { result: typeof answer.result === "string" ? answer.result : JSON.stringify(answer.result) };
  }
};
