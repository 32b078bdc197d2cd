import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { browserSessionMs } from "../identity/browser-sessions.ts";
import { SquadronError } from "../kernel/errors.ts";
import {
  browserToken,
  isFromOwnPage,
  pageHeader,
  signedInCookie,
  signedOutCookie,
} from "./browser-cookie.ts";
import type { HttpApp, HttpContext } from "./context.ts";
import { failures } from "./schemas.ts";
import { createSignInAttempts } from "./sign-in-attempts.ts";

const tags = ["account"];

const fromOwnPage = (request: FastifyRequest): void => {
  if (!isFromOwnPage(request))
    throw new SquadronError(
      "forbidden",
      `Only a page of this node may do this, with the header ${pageHeader}: 1.`,
    );
};

const isUnauthenticated = (error: unknown): boolean =>
  error instanceof SquadronError && error.code === "unauthenticated";

/** Signing a browser in and out. */
export const browserSessionRoutes = (app: HttpApp, { identity, gateway, clock }: HttpContext): void => {
  const attempts = createSignInAttempts(clock);

  app.get(
    "/v1/browser-session",
    {
      schema: {
        operationId: "signedInAs",
        summary: "Who this browser is signed in as, if it is",
        description: "For pages of the same origin; to anybody else it is null.",
        tags,
        security: [],
        response: {
          200: z.object({ signedInAs: z.object({ tenant: z.string(), user: z.string() }).nullable() }),
          ...failures,
        },
      },
    },
    async (request) => {
      const token = browserToken(request);
      if (token === undefined) return { signedInAs: null };
      try {
        const { tenant, user } = (await identity.authenticateBrowser(token)).principal;
        return { signedInAs: { tenant, user } };
      } catch (error) {
        if (isUnauthenticated(error)) return { signedInAs: null };
        throw error;
      }
    },
  );

  app.post(
    "/v1/browser-session",
    {
      schema: {
        operationId: "signIn",
        summary: "Sign a browser in with a key",
        description: `Only for pages of the same origin, with the header \`${pageHeader}: 1\`. The answer sets a cookie that no script can read; it is good for 14 days, or as long as the key.`,
        tags,
        security: [],
        body: z.strictObject({ key: z.string().min(1).max(4_096) }),
        response: { 204: z.undefined().describe("Signed in"), ...failures },
      },
    },
    async (request, reply) => {
      fromOwnPage(request);
      attempts.begin(request.ip);
      const signIn = async () => {
        try {
          return await identity.signIn(request.body.key);
        } catch (error) {
          if (!isUnauthenticated(error)) attempts.giveBack(request.ip);
          throw error;
        }
      };
      const { token, caller } = await signIn();
      attempts.giveBack(request.ip);
      // The browser has one cookie: whom it was signed in as before it is no more.
      const former = browserToken(request);
      if (former !== undefined) await identity.signOut(former);
      gateway.services.audit.record(caller.principal, {
        action: "browser.sign-in",
        target: caller.keyId,
        outcome: "ok",
      });
      const cookie = signedInCookie(request, token.reveal(), browserSessionMs);
      return reply.header("set-cookie", cookie).code(204).send();
    },
  );

  app.delete(
    "/v1/browser-session",
    {
      schema: {
        operationId: "signOut",
        summary: "Sign this browser out; its event streams end",
        tags,
        security: [],
        response: { 204: z.undefined().describe("Signed out, or it was not signed in"), ...failures },
      },
    },
    async (request, reply) => {
      fromOwnPage(request);
      const token = browserToken(request);
      if (token !== undefined) await identity.signOut(token);
      return reply.header("set-cookie", signedOutCookie(request)).code(204).send();
    },
  );
};
