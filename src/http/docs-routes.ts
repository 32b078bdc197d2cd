import { createHash } from "node:crypto";
import type { HttpApp } from "./context.ts";
import { docsPage, docsStyle } from "./docs-page.ts";

const styleHash = createHash("sha256").update(docsStyle).digest("base64");
const policy = `default-src 'none'; style-src 'sha256-${styleHash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/** The API's description, for programs and for people. Both need no key: they say what is in the source anyway. */
export const docsRoutes = (app: HttpApp): void => {
  app.get("/openapi.json", { schema: { hide: true } }, async (_request, reply) =>
    reply.header("content-type", "application/json; charset=utf-8").send(JSON.stringify(app.swagger())),
  );
  app.get("/docs", { schema: { hide: true } }, async (request, reply) =>
    reply
      .header("content-security-policy", policy)
      .header("content-type", "text/html; charset=utf-8")
      .send(docsPage(app.swagger(), `${request.protocol}://${request.host}`)),
  );
};
