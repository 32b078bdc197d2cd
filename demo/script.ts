/**
 * What the scripted model does: a pure function from a conversation to one move.
 *
 * The model obeys directives in the last user message. Parts are said in the order in which they stand;
 * without any part it says that it is a scripted model and repeats the message.
 *
 * | directive              | kind     | effect                                                                        |
 * |------------------------|----------|-------------------------------------------------------------------------------|
 * | `[[echo TEXT]]`        | part     | says TEXT                                                                     |
 * | `[[tokens N]]`         | part     | says `t1 t2 … tN` in N chunks                                                 |
 * | `[[call TOOL {json}]]` | part     | calls TOOL; with its result says `TOOL said: RESULT`. Several: one after another |
 * | `[[count]]`            | part     | says how many user messages the history has, this one included                |
 * | `[[recall]]`           | part     | says the earlier user messages, shortened, separated by ` / `                 |
 * | `[[knows TEXT]]`       | part     | says `yes` if the system message contains TEXT, else `no`                     |
 * | `[[tools]]`            | part     | says the sorted names of the tools that the request offers                    |
 * | `[[model]]`            | part     | says the model id of the request                                              |
 * | `[[secret]]`           | part     | says the bearer key that came with the request                                |
 * | `[[delay MS]]`         | modifier | waits MS milliseconds before each chunk                                       |
 * | `[[hold NAME]]`        | modifier | after the first chunk waits for `release(NAME)`, or for the caller to go away |
 * | `[[cut]]`              | modifier | destroys the connection after the first chunk                                 |
 * | `[[fail STATUS N]]`    | modifier | answers STATUS, after all calls; with N only to the first N requests of this prompt. 401 repeats the key, as real providers do |
 */
import { SquadronError } from "../src/kernel/errors.ts";

export interface Message {
  readonly role: "system" | "user" | "assistant" | "tool";
  readonly text: string;
}

/** A model request, whatever wire format it came in. */
export interface Conversation {
  readonly model: string;
  readonly stream: boolean;
  readonly messages: readonly Message[];
  readonly tools: readonly string[];
}

export interface Usage {
  readonly input: number;
  readonly output: number;
}

export type Move =
  | { readonly kind: "fail"; readonly status: number }
  | { readonly kind: "call"; readonly tool: string; readonly args: string; readonly usage: Usage }
  | {
      readonly kind: "say";
      readonly chunks: readonly string[];
      readonly delayMs: number;
      readonly hold: string | undefined;
      readonly cut: boolean;
      readonly usage: Usage;
    };

const maxTokens = 100_000;
const maxDelayMs = 600_000;
const maxQuoted = 2_000;
const tokensPerMessage = 10;
const tokensPerCall = 5;

interface Directive {
  readonly name: string;
  readonly rest: string;
}

/** Blocks that the runtime puts around a prompt; they are not the user's words. */
const wrapping =
  /<(current_datetime|tools_changed_notice|system_reminder|reminder|system_notification)>[\s\S]*?<\/\1>/g;

/** The user's own words, without what the runtime wrapped around them. */
export const unwrap = (text: string): string => text.replaceAll(wrapping, "").trim();

const isJsonObject = (text: string): boolean => {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null;
  } catch {
    return false;
  }
};

const callOf = (rest: string): { tool: string; args: string } => {
  const [, tool = "", args = ""] = /^(\S+)\s*([\s\S]*)$/.exec(rest) ?? [];
  return { tool, args: args === "" ? "{}" : args };
};

/** The directive that opens at `open`. JSON arguments may contain `]]`, so a call ends where its JSON is whole. */
const readDirective = (prompt: string, open: number): (Directive & { readonly end: number }) | undefined => {
  for (let close = prompt.indexOf("]]", open); close >= 0; close = prompt.indexOf("]]", close + 1)) {
    const [, name, rest = ""] = /^([a-z]+)(?:\s+([\s\S]*))?$/.exec(prompt.slice(open + 2, close)) ?? [];
    if (name === undefined) return undefined;
    if (name !== "call" || isJsonObject(callOf(rest).args)) return { name, rest, end: close + 2 };
  }
  return undefined;
};

/** The directives of a prompt in order, and the prompt without them. What is not well formed stays text. */
export const parseDirectives = (prompt: string): { directives: readonly Directive[]; plain: string } => {
  const directives: Directive[] = [];
  let plain = "";
  let at = 0;
  for (let open = prompt.indexOf("[["); open >= 0; open = prompt.indexOf("[[", at)) {
    const directive = readDirective(prompt, open);
    const end = directive?.end ?? open + 2;
    plain += prompt.slice(at, directive ? open : end);
    if (directive) directives.push({ name: directive.name, rest: directive.rest });
    at = end;
  }
  return { directives, plain: (plain + prompt.slice(at)).trim() };
};

const numberOf = (directive: Directive, text: string, max: number): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > max)
    throw new SquadronError(
      "invalid_request",
      `The directive [[${directive.name} ${directive.rest}]] needs a whole number up to ${max}.`,
    );
  return value;
};

/** Splits before each word and loses nothing: the chunks joined are the text. */
const words = (text: string): string[] => text.split(/(?<=\s)(?=\S)/);

const shorten = (text: string, max: number): string => (text.length > max ? `${text.slice(0, max)}…` : text);

/** What a move depends on beside the conversation. */
export interface Circumstances {
  /** The bearer key of the request. */
  readonly key: string;
  /** What it does at some prompts, which are not directives themselves. */
  readonly cues?: ReadonlyMap<string, string>;
  /** Milliseconds before each word of an answer to a prompt without directives; 0 unless told. */
  readonly pace?: number;
  /** Whether a prompt that wants to fail the first `times` times fails now. */
  failsNow(prompt: string, times: number): boolean;
}

/**
 * The next move of the model in this conversation.
 * Throws `invalid_request` when there is no user message or a directive is wrong.
 */
export const nextMove = (
  conversation: Conversation,
  { key, failsNow, cues, pace = 0 }: Circumstances,
): Move => {
  const { messages } = conversation;
  const users = messages.filter((message) => message.role === "user").map((message) => unwrap(message.text));
  const prompt = users.at(-1);
  if (prompt === undefined)
    throw new SquadronError("invalid_request", "The conversation has no user message.");
  const { directives, plain } = parseDirectives(cues?.get(prompt) ?? prompt);
  const lastUser = messages.findLastIndex((message) => message.role === "user");
  const results = messages.slice(lastUser + 1).filter((message) => message.role === "tool");
  const input = messages.filter((message) => message.role !== "system").length * tokensPerMessage;

  const calls = directives.filter((directive) => directive.name === "call");
  const pending = calls[results.length];
  if (pending) return { kind: "call", ...callOf(pending.rest), usage: { input, output: tokensPerCall } };

  const parts: string[][] = [];
  let delayMs = directives.length === 0 ? pace : 0;
  let hold: string | undefined;
  let cut = false;
  let called = 0;
  for (const directive of directives) {
    const say = (text: string) => parts.push(words(text));
    switch (directive.name) {
      case "echo":
        say(directive.rest);
        break;
      case "tokens": {
        const count = numberOf(directive, directive.rest, maxTokens);
        parts.push(
          Array.from({ length: count }, (_, index) => `t${index + 1}${index + 1 < count ? " " : ""}`),
        );
        break;
      }
      case "call":
        say(`${callOf(directive.rest).tool} said: ${results[called]?.text ?? ""}`);
        called += 1;
        break;
      case "count":
        say(String(users.length));
        break;
      case "recall":
        say(
          users
            .slice(0, -1)
            .map((text) => shorten(text, 80))
            .join(" / "),
        );
        break;
      case "knows":
        say(messages.some((m) => m.role === "system" && m.text.includes(directive.rest)) ? "yes" : "no");
        break;
      case "tools":
        say([...conversation.tools].sort().join(", "));
        break;
      case "model":
        say(conversation.model);
        break;
      case "secret":
        say(key);
        break;
      case "delay":
        delayMs = numberOf(directive, directive.rest, maxDelayMs);
        break;
      case "hold":
        hold = directive.rest;
        break;
      case "cut":
        cut = true;
        break;
      case "fail": {
        const [status = "", times] = directive.rest.split(/\s+/);
        const limit = times === undefined ? Number.POSITIVE_INFINITY : numberOf(directive, times, maxTokens);
        if (failsNow(prompt, limit)) return { kind: "fail", status: numberOf(directive, status, 599) };
        break;
      }
      default:
        say(`(The scripted model knows no directive "${directive.name}".)`);
    }
  }
  if (parts.length === 0) {
    const quoted = shorten(plain, maxQuoted);
    parts.push(words(`I am a scripted model, not an AI. You said: "${quoted}" (message ${users.length}).`));
  }
  const chunks = parts
    .flatMap((part, index) => (index === 0 ? part : [" ", ...part]))
    .filter((chunk) => chunk !== "");
  return { kind: "say", chunks, delayMs, hold, cut, usage: { input, output: chunks.length } };
};
