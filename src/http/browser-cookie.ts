import type { IncomingHttpHeaders } from "node:http";
import type { FastifyRequest } from "fastify";

/** Another site's page can send it only if we answered its preflight request, which we never do. */
export const pageHeader = "x-squadron-request";

const changesNothing: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/** Cookies are the same for all ports of a host, but nodes on several ports are several. */
const cookieName = ({ host = "" }: IncomingHttpHeaders): string => {
  const port = /:(\d{1,5})$/.exec(host)?.[1];
  return port === undefined ? "squadron" : `squadron-${port}`;
};

const hostOf = (origin: string): string | undefined =>
  URL.canParse(origin) ? new URL(origin).host : undefined;

/** Does the request come from a page of our own? What a browser says of itself goes before everything else. */
export const isFromOwnPage = ({ headers, method }: Pick<FastifyRequest, "headers" | "method">): boolean => {
  const site = headers["sec-fetch-site"];
  const { origin } = headers;
  const marked = headers[pageHeader] === "1";
  if (!changesNothing.has(method) && !marked) return false;
  if (site !== undefined) return site === "same-origin";
  if (origin !== undefined) return hostOf(origin) === headers.host?.toLowerCase();
  return marked;
};

/** The token of the cookie with which a browser is signed in, if the request may use it. */
export const browserToken = (request: Pick<FastifyRequest, "headers" | "method">): string | undefined => {
  const { headers } = request;
  const name = cookieName(headers);
  const pairs = headers.cookie?.split(";").map((pair) => pair.trim()) ?? [];
  const token = pairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1);
  return token !== undefined && isFromOwnPage(request) ? token : undefined;
};

/** Over HTTPS it is for HTTPS only; the page's origin says so also behind a proxy that speaks HTTP with us. */
const attributes = ({ headers }: Pick<FastifyRequest, "headers">): string =>
  `Path=/; HttpOnly; SameSite=Strict${headers.origin?.startsWith("https:") === true ? "; Secure" : ""}`;

export const signedInCookie = (request: Pick<FastifyRequest, "headers">, token: string, ms: number): string =>
  `${cookieName(request.headers)}=${token}; Max-Age=${Math.floor(ms / 1_000)}; ${attributes(request)}`;

export const signedOutCookie = (request: Pick<FastifyRequest, "headers">): string =>
  `${cookieName(request.headers)}=; Max-Age=0; ${attributes(request)}`;
