import { isObject } from "../kernel/json.ts";
import type { OpenRequests } from "./open-requests.ts";

/**
 * A runtime asks for user input twice at once: by an event, which has an id, and by a callback, which has none. The same
 * question is found by its words; of equal ones the first belongs to the first.
 */
export interface UserInputs {
  /** The callback has come: the id of its event, if that was told before. */
  asked(params: unknown): string | undefined;
  /** Takes in an event. */
  seen(type: string, data: unknown): void;
}

/** As many as can be asked at once; of events that no callback follows the oldest are forgotten. */
const maxUnmatched = 100;

const wordsOf = (data: Record<string, unknown>): string => JSON.stringify([data.question, data.choices]);

export const createUserInputs = (requests: Pick<OpenRequests, "closed">): UserInputs => {
  const unmatched: { readonly id: string; readonly words: string }[] = [];
  return {
    asked(params) {
      if (!isObject(params)) return undefined;
      const at = unmatched.findIndex(({ words }) => words === wordsOf(params));
      return at < 0 ? undefined : unmatched.splice(at, 1)[0]?.id;
    },
    seen(type, data) {
      if (!isObject(data) || typeof data.requestId !== "string") return;
      const { requestId: id } = data;
      if (type === "user_input.completed") {
        const at = unmatched.findIndex((one) => one.id === id);
        if (at >= 0) unmatched.splice(at, 1);
        requests.closed(id);
      } else if (type === "user_input.requested") {
        unmatched.push({ id, words: wordsOf(data) });
        if (unmatched.length > maxUnmatched) unmatched.shift();
      }
    },
  };
};
