import type { FastifyRequest } from "fastify";
import { expect, it, vi } from "vitest";
import { authenticate } from "../../../src/http/caller.ts";
import { withConnection } from "../../../src/http/connection.ts";
import type { HttpContext } from "../../../src/http/context.ts";

const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

it("gives the answer while the connection is still leaving its session, which the closing server waits for", async () => {
  const leaving = Promise.withResolvers<void>();
  const logged = vi.fn();
  const context = {
    working: new Set(),
    log: { debug: () => undefined, error: logged },
    gateway: { connect: () => ({ id: "c", close: () => leaving.promise }) },
    identity: { authenticate: async () => ({ principal: {} }), whenSignedOut: () => () => undefined },
  } as unknown as HttpContext;
  const request = { id: "r", headers: { authorization: "Bearer key" } } as FastifyRequest;
  await authenticate(context, request);
  expect(await withConnection(context, request, async () => "answer")).toBe("answer");
  const failing = withConnection(context, request, async () => Promise.reject(new Error("no")));
  await expect(failing).rejects.toThrow("no");
  await settle();
  expect(context.working.size).toBe(2);
  leaving.reject(new Error("gone"));
  await settle();
  expect([context.working.size, logged.mock.calls.length]).toEqual([0, 2]);
});
