import { isObject, type Json } from "../kernel/json.ts";
import type { Flag } from "./declarations.ts";
import type { PersonalKind } from "./request-answers.ts";
import type { Attachment } from "./vocabulary.ts";

/** A question that the runtime asks as a request on the pipe and that one client answers. */
export interface CallbackKind {
  /** Who can be asked: whoever declared the flag, or whoever wrote the session's record last. */
  readonly askedOf: { readonly flag: Flag } | { readonly recordWriter: true } | { readonly list: "canvases" };
  /** A person decides, through a client or, if it is of a kind, over HTTP. */
  readonly asksPerson?: { readonly kind: PersonalKind | undefined };
  /** What the runtime is told when nobody can be asked, or nobody answers in time; `undefined` is an error. */
  defaultAnswer(params: unknown): Json | undefined;
}

const unanswered = (): undefined => undefined;

/** Every callback that carries a session id and is passed on; those without one are in `gateway.ts`. */
export const callbackKinds: Readonly<Record<string, CallbackKind>> = {
  "hooks.invoke": {
    askedOf: { flag: "hooks" },
    defaultAnswer: () => ({}),
  },
  "userInput.request": {
    askedOf: { flag: "requestUserInput" },
    asksPerson: { kind: "user_input" },
    defaultAnswer: () => ({ answer: "The user is not available to answer.", wasFreeform: true }),
  },
  "exitPlanMode.request": {
    askedOf: { flag: "requestExitPlanMode" },
    asksPerson: { kind: undefined },
    defaultAnswer: () => ({ approved: false, feedback: "The user is not available to decide." }),
  },
  "autoModeSwitch.request": {
    askedOf: { flag: "requestAutoModeSwitch" },
    asksPerson: { kind: undefined },
    defaultAnswer: () => ({ response: "no" }),
  },
  "systemMessage.transform": {
    askedOf: { recordWriter: true },
    defaultAnswer: (params) =>
      isObject(params) && isObject(params.sections) ? { sections: params.sections as Json } : undefined,
  },
  "providerToken.getToken": { askedOf: { recordWriter: true }, defaultAnswer: unanswered },
  "canvas.open": { askedOf: { list: "canvases" }, defaultAnswer: unanswered },
  "canvas.close": { askedOf: { list: "canvases" }, defaultAnswer: unanswered },
  "canvas.action.invoke": { askedOf: { list: "canvases" }, defaultAnswer: unanswered },
};

/** Can this attachment be asked? */
export const canAnswer = (
  kind: CallbackKind,
  attachment: Attachment,
  recordWriter: Attachment | undefined,
): boolean => {
  if ("flag" in kind.askedOf) return attachment.declarations.flags.has(kind.askedOf.flag);
  if ("list" in kind.askedOf) return attachment.declarations.lists.canvases.length > 0;
  return attachment === recordWriter;
};
