import { join } from "node:path";
import type { FastifyReply, FastifyRequest } from "fastify";
import { SquadronError } from "../kernel/errors.ts";
import type { HttpApp } from "./context.ts";
import { builtPages, type PageFile, readPage } from "./page-files.ts";

/** Only what the node itself serves: no inline script or style, no address of anybody else, no text that becomes HTML. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'none'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

const accepts = (header: string | undefined, encoding: string): boolean =>
  encoding === "identity" ||
  (header ?? "").split(",").some((one) => {
    const [name = "", quality] = one.split(";").map((part) => part.trim());
    return name.toLowerCase() === encoding && !/^q=0(\.0*)?$/.test(quality ?? "");
  });

const send = (
  { headers }: FastifyRequest,
  reply: FastifyReply,
  file: PageFile,
  cacheControl: string,
): FastifyReply => {
  const found = file.bodies.find(({ encoding }) => accepts(headers["accept-encoding"], encoding));
  const { encoding = "identity", bytes } = found ?? {};
  const etag = `"${file.etag}-${encoding}"`;
  reply
    .header("content-security-policy", policy)
    .header("cache-control", cacheControl)
    .header("vary", "accept-encoding")
    .header("etag", etag);
  if (headers["if-none-match"]?.split(",").some((one) => one.trim() === etag) === true)
    return reply.code(304).send();
  if (encoding !== "identity") reply.header("content-encoding", encoding);
  return reply.header("content-type", file.type).send(bytes);
};

/** The chat room in the browser. Its files need no key: they are the same for everybody, and are nothing without one. */
export const pageRoutes = (app: HttpApp, options: { readonly directory?: string } = {}): void => {
  const directory = join(options.directory ?? builtPages, "chat");
  let read: ReadonlyMap<string, PageFile> | undefined;

  const files = async (): Promise<ReadonlyMap<string, PageFile>> => {
    read ??= await readPage(directory);
    if (read !== undefined) return read;
    throw new SquadronError("not_found", "The chat room has not been built here; run npm run build:pages.");
  };

  const index = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const file = (await files()).get("index.html");
    if (file === undefined) throw new SquadronError("not_found", "There is no such page.");
    return send(request, reply, file, "no-cache");
  };

  const hide = { schema: { hide: true } };
  app.get("/", hide, async (_request, reply) => reply.redirect("/chat"));
  app.get("/chat", hide, index);
  app.get("/chat/*", hide, async (request, reply) => {
    const { "*": path } = request.params as { readonly "*": string };
    // Addresses within the page are the page's own business.
    if (!path.startsWith("assets/")) return index(request, reply);
    const file = (await files()).get(path);
    if (file === undefined) throw new SquadronError("not_found", "There is no such file.");
    // Its name says what is in it.
    return send(request, reply, file, "public, max-age=31536000, immutable");
  });
};
