import { z } from "zod";
import { isObject } from "../kernel/json.ts";
import { callerOf } from "./caller.ts";
import { askOnce } from "./connection.ts";
import type { HttpApp, HttpContext } from "./context.ts";
import { failures } from "./schemas.ts";

const tags = ["account"];
const role = z.enum(["user", "tenant-admin", "admin"]);
const models = z.object({ models: z.array(z.object({ id: z.string(), name: z.string() })) });

/** What a user may want to know before the first session. */
export const accountRoutes = (app: HttpApp, context: HttpContext): void => {
  app.get(
    "/v1/me",
    {
      schema: {
        operationId: "me",
        summary: "Who you are",
        tags,
        response: {
          200: z.object({ tenant: z.string(), user: z.string(), roles: z.array(role), keyId: z.string() }),
          ...failures,
        },
      },
    },
    async (request) => {
      const { principal, keyId } = callerOf(request);
      return { tenant: principal.tenant, user: principal.user, roles: [...principal.roles], keyId };
    },
  );

  app.get(
    "/v1/models",
    {
      schema: {
        operationId: "listModels",
        summary: "The models that you may use",
        tags,
        response: { 200: models, ...failures },
      },
    },
    async (request, reply) => {
      const answer = await askOnce(context, request, reply, (connection) =>
        connection.request("models.list", {}),
      );
      return models.parse(isObject(answer) ? answer : {});
    },
  );
};
