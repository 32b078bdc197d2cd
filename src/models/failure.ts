import { SquadronError } from "../kernel/errors.ts";

/** Why a provider gave no (full) answer, in words that name no address. */
export interface Failure {
  readonly code:
    | "provider_unreachable"
    | "provider_silent"
    | "provider_untrusted"
    | "provider_connection_lost";
  readonly message: string;
  /** Nothing of an answer can have been made: trying again is harmless. */
  readonly harmless: boolean;
  /** The system's own code, for the log. */
  readonly cause: string;
}

const unreachable: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ENOTFOUND: "name not found",
  EAI_AGAIN: "name not found",
  EHOSTUNREACH: "no route",
  ENETUNREACH: "no route",
  UND_ERR_CONNECT_TIMEOUT: "no connection in time",
};
const silent = new Set(["UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT"]);
const untrusted = /CERT|SELF_SIGNED|UNABLE_TO_(VERIFY|GET)|ERR_TLS|ERR_SSL/;

const codeOf = (error: unknown): string => {
  if (!(error instanceof Error)) return "unknown";
  return "code" in error && typeof error.code === "string" ? error.code : error.name;
};

export const failureOf = (error: unknown): Failure => {
  const cause = codeOf(error);
  if (Object.hasOwn(unreachable, cause)) {
    const message = `The model provider could not be reached: ${unreachable[cause]}.`;
    return { code: "provider_unreachable", message, harmless: true, cause };
  }
  if (silent.has(cause)) {
    const message = "The model provider was silent for too long.";
    return { code: "provider_silent", message, harmless: false, cause };
  }
  if (untrusted.test(cause)) {
    const message = "The model provider's certificate is not trusted.";
    return { code: "provider_untrusted", message, harmless: false, cause };
  }
  const message = "The connection to the model provider was lost.";
  return { code: "provider_connection_lost", message, harmless: false, cause };
};

/** Did the call end because the runtime, or we, no longer want it? */
export const isCancelled = (error: unknown, signal: AbortSignal): boolean =>
  signal.aborted ||
  (error instanceof SquadronError && (error.code === "cancelled" || error.code === "connection_closed"));
