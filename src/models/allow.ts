import { isObject } from "../kernel/json.ts";
import type { ModelGrant } from "./grant.ts";
import type { ResolvedRoute } from "./route.ts";

const matches = (pattern: string, model: string): boolean => {
  const [first = "", ...rest] = pattern.split("*");
  if (rest.length === 0) return model === pattern;
  const last = rest.pop() ?? "";
  if (!model.startsWith(first) || model.length < first.length + last.length) return false;
  let from = first.length;
  const until = model.length - last.length;
  for (const part of rest) {
    const at = model.indexOf(part, from);
    if (at < 0 || at + part.length > until) return false;
    from = at + part.length;
  }
  return model.endsWith(last);
};

/** Is the model on the list? `*` stands for any text. */
export const modelAllowed = (allowed: readonly string[], model: string): boolean =>
  allowed.some((pattern) => matches(pattern, model));

// The runtime writes `model` first, so that a long conversation need not be parsed to find it.
const head = /^\s*\{\s*(?:"type"\s*:\s*"[\w.]+"\s*,\s*)?"model"\s*:\s*("(?:[^"\\]|\\.){0,400}")/;
const headLength = 1_024;

/** The `model` of a JSON request body; `undefined` when it has none or is no JSON object. */
export const modelOf = (body: Buffer): string | undefined => {
  try {
    const quoted = head.exec(body.toString("utf8", 0, headLength))?.[1];
    if (quoted !== undefined) return String(JSON.parse(quoted));
    const parsed: unknown = JSON.parse(body.toString("utf8"));
    return isObject(parsed) && typeof parsed.model === "string" ? parsed.model : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
};

const decoded = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
};

const inference = /\/(chat\/completions|completions|responses|messages|embeddings)$/;

export type Verdict =
  | { readonly kind: "allowed"; readonly model: string }
  | { readonly kind: "denied"; readonly message: string };

/** May this call be made? Its model stands in the body, for Azure deployments in the path too. */
export const judge = (
  grant: ModelGrant,
  call: { readonly method: string; readonly body: Buffer; readonly resolved: ResolvedRoute },
): Verdict => {
  const { target, route } = call.resolved;
  const named = modelOf(call.body);
  const path = /\/deployments\/([^/]+)\//.exec(target.pathname)?.[1];
  const deployment = path === undefined ? undefined : (decoded(path) ?? path);
  for (const model of [named, deployment]) {
    if (model !== undefined && !modelAllowed(grant.allowModels, model)) {
      const text = model.slice(0, 200);
      return {
        kind: "denied",
        message: `The model "${text}" is not allowed here. Choose one that GET /v1/models lists.`,
      };
    }
  }
  const model = named ?? deployment;
  if (model !== undefined) return { kind: "allowed", model };
  const reads = /^(GET|HEAD)$/i.test(call.method);
  const auxiliary = route.verbatim === true && !inference.test(target.pathname);
  if (reads || auxiliary || grant.allowModels.includes("*")) return { kind: "allowed", model: "" };
  return { kind: "denied", message: "The request names no model, and not every model is allowed here." };
};
