import type { ModelRoute } from "./grant.ts";
import type { HeaderLists, RequestStart } from "./protocol.ts";

const hopByHop = new Set([
  "host",
  "connection",
  "content-length",
  "transfer-encoding",
  "keep-alive",
  "upgrade",
  "proxy-connection",
  "te",
  "trailer",
  "expect",
  // The bytes pass as they are, and tokens are counted on the way: nothing may come compressed.
  "accept-encoding",
]);

const credentialNames = new Set([
  "authorization",
  "proxy-authorization",
  "x-api-key",
  "api-key",
  "ocp-apim-subscription-key",
  "x-goog-api-key",
  "cookie",
]);

/** A route with the address that it gives to one call. */
export interface ResolvedRoute {
  readonly route: ModelRoute;
  readonly target: URL;
}

const asHttp = (url: string): string | undefined => {
  const parsed = URL.parse(url);
  return parsed === null ? undefined : parsed.href.replace(/^ws/, "http");
};

const carries = (headers: HeaderLists, placeholder: string): boolean =>
  Object.entries(headers).some(
    ([name, values]) =>
      credentialNames.has(name) && values.some((value) => value.replace(/^Bearer /, "") === placeholder),
  );

/** The first route that fits the call, or `undefined`: then the call is not allowed. */
export const resolveRoute = (
  routes: readonly ModelRoute[],
  start: Pick<RequestStart, "url" | "headers">,
): ResolvedRoute | undefined => {
  const url = asHttp(start.url);
  if (url === undefined) return undefined;
  for (const route of routes) {
    const prefix = asHttp(route.prefix)?.replace(/\/+$/, "");
    if (prefix === undefined || !url.startsWith(prefix)) continue;
    const rest = url.slice(prefix.length);
    // `http://host/v1` must not cover `http://host/v10` or `http://host/v1@elsewhere`.
    if (rest !== "" && !/^[/?]/.test(rest)) continue;
    if (route.placeholder !== undefined && !carries(start.headers, route.placeholder)) continue;
    const target = URL.parse(route.target.replace(/\/+$/, "") + rest);
    if (target === null || target.origin !== URL.parse(route.target)?.origin) continue;
    return { route, target };
  }
  return undefined;
};

/** The headers that the provider gets: the runtime's without its credentials, then the route's own. */
export const upstreamHeaders = (
  route: ModelRoute,
  headers: HeaderLists,
): Record<string, string | string[]> => {
  const sent: Record<string, string | string[]> = {};
  for (const [key, values] of Object.entries(headers)) {
    const name = key.toLowerCase();
    if (hopByHop.has(name) || name.startsWith("sec-websocket-")) continue;
    if (credentialNames.has(name) && !route.passCredentials?.includes(name)) continue;
    sent[name] = values.length === 1 ? (values[0] ?? "") : [...values];
  }
  for (const [name, secret] of Object.entries(route.headers)) sent[name.toLowerCase()] = secret.reveal();
  sent["accept-encoding"] = "identity";
  return sent;
};

const shown =
  /^(content-type|content-encoding|retry-after|retry-after-ms|x-should-retry|x-request-id|request-id|(x-|anthropic-)?ratelimit-.+)$/;
const unshown =
  /^(set-cookie|connection|keep-alive|transfer-encoding|content-length|trailer|upgrade|proxy-.+)$/;

/** The provider's headers that the runtime gets. Account, organisation and cookies are none of its business. */
export const responseHeaders = (
  route: ModelRoute,
  headers: Readonly<Record<string, string | string[] | undefined>>,
): HeaderLists => {
  const passed: Record<string, readonly string[]> = {};
  for (const [key, value] of Object.entries(headers)) {
    const name = key.toLowerCase();
    if (value === undefined || !(route.verbatim ? !unshown.test(name) : shown.test(name))) continue;
    passed[name] = typeof value === "string" ? [value] : value;
  }
  return passed;
};
