import { isObject } from "../kernel/json.ts";

/** An error as OpenAI-compatible clients expect it. */
export interface ErrorBody {
  readonly error: { readonly message: string; readonly type: string; readonly code: string };
}

export const errorBody = (code: string, message: string, type = "invalid_request_error"): ErrorBody => ({
  error: { message, type, code },
});

/** Codes that say something about the request and nothing about the account, each with a text of ours. */
const safeCodes: Readonly<Record<string, string>> = {
  invalid_api_key: "The model provider refused the server's credential.",
  authentication_error: "The model provider refused the server's credential.",
  permission_error: "The model provider does not allow this to the server's credential.",
  insufficient_quota: "The quota at the model provider is used up.",
  billing_error: "The quota at the model provider is used up.",
  rate_limit_exceeded: "The model provider's rate limit is reached.",
  rate_limit_error: "The model provider's rate limit is reached.",
  context_length_exceeded: "The conversation is longer than the model's context window.",
  request_too_large: "The request is larger than the model provider accepts.",
  model_not_found: "The model provider does not know this model.",
  not_found_error: "The model provider does not know this model or address.",
  DeploymentNotFound: "The model provider does not know this model.",
  model_not_supported: "The model provider does not support this model here.",
  content_filter: "The model provider's content filter refused the request.",
  unsupported_parameter: "The model does not support a parameter of the request.",
  unsupported_value: "The model does not support a value of the request.",
  invalid_request_error: "The model provider refused the request as invalid.",
  overloaded_error: "The model provider is overloaded.",
  server_error: "The model provider failed.",
  api_error: "The model provider failed.",
  timeout_error: "The model provider took too long.",
};

const textOf = (status: number): string => {
  if (status === 401 || status === 403) return "The model provider refused the server's credential.";
  if (status === 404) return "The model provider does not know this model or address.";
  if (status === 413) return "The request is larger than the model provider accepts.";
  if (status === 429) return "The model provider's rate limit is reached.";
  return status >= 500 ? "The model provider failed." : "The model provider refused the request.";
};

const typeOf = (status: number): string => {
  if (status === 401 || status === 403) return "authentication_error";
  if (status === 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
};

const codeIn = (text: string): string | undefined => {
  try {
    const body: unknown = JSON.parse(text);
    const error = isObject(body) && isObject(body.error) ? body.error : body;
    if (!isObject(error)) return undefined;
    for (const code of [error.code, error.type]) {
      if (typeof code === "string" && Object.hasOwn(safeCodes, code)) return code;
    }
    return undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
};

/** What a client may see of a provider's error: the status, a known code, and words of ours. `text`: the provider's. */
export const scrubbedError = (status: number, text: string): ErrorBody => {
  const code = codeIn(text);
  return errorBody(
    code ?? "provider_error",
    (code === undefined ? undefined : safeCodes[code]) ?? textOf(status),
    typeOf(status),
  );
};

const tokenLike = /\b(?:sk|rk|pk|gh[oprsu]|github_pat|xox[a-z]|AIza|eyJ)[-_]?[A-Za-z0-9][A-Za-z0-9*._-]{6,}/g;
const longestLogged = 2_000;

/** A provider's text for our own log: known secrets and what looks like one are masked, the length is limited. */
export const redacted = (text: string, secrets: readonly string[]): string => {
  let safe = text;
  for (const value of secrets) {
    for (const part of [value, value.replace(/^(Bearer|Basic) /, "")]) {
      if (part.length >= 4) safe = safe.replaceAll(part, "[secret]");
    }
  }
  return safe.replace(tokenLike, "[secret]").slice(0, longestLogged);
};
