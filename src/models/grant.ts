import type { Secret } from "../kernel/secret.ts";

/** What this room needs of a log; a pino logger fits. */
export interface ModelLog {
  debug(fields: Record<string, unknown>, message: string): void;
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
}

/** Where calls to one URL prefix really go, and with which credentials. */
export interface ModelRoute {
  /** URL prefix as the runtime sees it: `http://models.squadron.internal/v1`. Covers `ws:` for `http:` too. */
  readonly prefix: string;
  /** The real base URL that replaces the prefix. */
  readonly target: string;
  /** Headers, by lowercase name, that we set or replace. */
  readonly headers: Readonly<Record<string, Secret>>;
  /** Takes only calls that carry this dummy key, which tells two providers at one URL apart. */
  readonly placeholder?: string;
  /** Credential headers of the runtime's own, by lowercase name, that may pass. All others are dropped. */
  readonly passCredentials?: readonly string[];
  /** The endpoint knows the user himself (GitHub): its errors and headers pass as they are. */
  readonly verbatim?: boolean;
}

/** The origin of a model call: what its session may do and where its calls go. */
export interface ModelGrant {
  /** Model ids, `*` as wildcard. */
  readonly allowModels: readonly string[];
  /** The first that fits is taken. */
  readonly routes: readonly ModelRoute[];
  /** Why it may make no more calls, when what it may use is used up. */
  readonly spent?: () => string | undefined;
  readonly log?: ModelLog;
}

/** Tokens of one answer. `inputTokens` includes `cachedTokens`. */
export interface Usage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cachedTokens: number;
  /** The model that was asked for. */
  readonly model: string;
}

/** The route to GitHub's own model API, where the runtime's GitHub token must pass. `url`: its base URL. */
export const githubRoute = (url: string): ModelRoute => {
  const base = url.replace(/\/+$/, "");
  return { prefix: base, target: base, headers: {}, passCredentials: ["authorization"], verbatim: true };
};
