import fastifySwagger from "@fastify/swagger";
import { jsonSchemaTransform, jsonSchemaTransformObject } from "fastify-type-provider-zod";
import { isObject } from "../kernel/json.ts";
import type { HttpApp } from "./context.ts";

const description = `Sessions with the GitHub Copilot runtime over plain HTTP.

Send your key as \`Authorization: Bearer …\`. Bodies are JSON. Every error is a problem document (RFC 9457) with a stable
\`code\`. Every response has an \`x-request-id\`; send one of your own to find your requests in the node's log.

A message is answered in one of three ways: with the answer when the turn has ended; with the turn's events as they
happen, when you accept \`text/event-stream\`; or at once with 202, when you say \`?wait=false\`.`;

/** Every schema is made once as it is sent and once as it is received; of the two only those that are used are shown. */
const withoutUnused = (document: Record<string, unknown>): Record<string, unknown> => {
  const components = isObject(document.components) ? document.components : {};
  const schemas = isObject(components.schemas) ? components.schemas : {};
  const text = JSON.stringify(document);
  const used = Object.entries(schemas).filter(([name]) => text.includes(`"#/components/schemas/${name}"`));
  if (used.length === Object.keys(schemas).length) return document;
  return withoutUnused({ ...document, components: { ...components, schemas: Object.fromEntries(used) } });
};

/** Collects the routes that are added after it into an OpenAPI 3.1 document. */
export const collectOpenApi = async (app: HttpApp): Promise<void> => {
  await app.register(fastifySwagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "Squadron", version: "1", description },
      servers: [{ url: "/" }],
      security: [{ key: [] }],
      components: { securitySchemes: { key: { type: "http", scheme: "bearer" } } },
      tags: [
        "prompts",
        "sessions",
        "messages",
        "turns",
        "requests",
        "participants",
        "events",
        "account",
        "admin",
        "operations",
      ].map((name) => ({ name })),
    },
    transform: jsonSchemaTransform,
    transformObject: (document) => withoutUnused({ ...jsonSchemaTransformObject(document) }),
  });
};
