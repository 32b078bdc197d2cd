import { setTimeout as sleep } from "node:timers/promises";
import type { Browser, Page } from "playwright-core";
import type { Actor, ActorOptions } from "./actor.ts";
import { endOf, toldBy } from "./http-actor.ts";
import type { Outcome } from "./journal.ts";
import { settle } from "./outcomes.ts";

const pollEveryMs = 50;

interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** What the chat's own page does with a call, in that page: its cookie goes along, and nothing else says who it is. */
const callIn = (
  page: Page,
  path: string,
  asked: { readonly body?: object; readonly key?: string } = {},
): Promise<Answer | undefined> =>
  page.evaluate(
    async ({ path, body, key }) => {
      try {
        const response = await fetch(path, {
          method: body === undefined ? "GET" : "POST",
          headers: {
            ...(body !== undefined && { "content-type": "application/json", "x-squadron-request": "1" }),
            ...(key !== undefined && { "idempotency-key": key }),
          },
          ...(body !== undefined && { body: JSON.stringify(body) }),
        });
        const text = await response.text();
        return { status: response.status, body: text === "" ? {} : JSON.parse(text) };
      } catch {
        // The connection was cut: whoever asked asks again.
        return undefined;
      }
    },
    { path, ...asked },
  );

/**
 * Somebody in a browser, signed in by the cookie of the chat, who has the session's stream open. A message is sent until
 * the node has said that it has it, always with the same key, and its turn is then asked for until it has ended.
 */
export const createBrowserActor = (options: ActorOptions & { readonly browser: Browser }): Actor => {
  const { browser, user, world, hangMs, existing } = options;
  let opened: Promise<{ readonly page: Page; readonly session: string }> | undefined;

  const open = async () => {
    const context = await browser.newContext({ baseURL: world.endpoints.http });
    const page = await context.newPage();
    await page.goto("/chat");
    const signedIn = await callIn(page, "/v1/browser-session", { body: { key: user.key } });
    if (signedIn?.status !== 204) throw new Error(`Nobody could sign in: ${JSON.stringify(signedIn)}`);
    const listed = await callIn(page, "/v1/sessions?limit=200");
    const sessions = (listed?.body.sessions ?? []) as readonly { id: string; name: string }[];
    const id = sessions.find(({ name }) => name === existing)?.id;
    if (id === undefined) throw new Error(`${user.user} takes no part: ${JSON.stringify(listed)}`);
    const session = `/v1/sessions/${id}`;
    await page.evaluate((url) => void new EventSource(url), `${session}/events`);
    return { page, session };
  };

  const say = async (body: object, onTaken: (() => void) | undefined): Promise<Outcome> => {
    opened ??= open();
    const { page, session } = await opened;
    const key = crypto.randomUUID();
    for (;;) {
      const taken = await callIn(page, `${session}/messages?wait=false`, { body, key });
      if (taken === undefined) {
        await sleep(pollEveryMs);
        continue;
      }
      if (taken.status !== 202) return toldBy({ ...taken, retryAfterMs: undefined });
      onTaken?.();
      for (;;) {
        const asked = await callIn(page, `${session}/turns/${taken.body.turnId}`);
        const outcome = asked?.status === 200 ? endOf(asked.body) : undefined;
        if (outcome !== undefined) return outcome;
        await sleep(pollEveryMs);
      }
    }
  };

  return {
    async say(_session, prompt, { steer = false, onTaken }) {
      const body = { prompt, ...(steer && { onBusy: "steer" }) };
      const settled = await settle(say(body, onTaken), hangMs);
      if (settled.kind === "error") throw settled.error;
      return settled.kind === "hung" ? settled : settled.value;
    },
    async cut() {
      const context = (await opened)?.page.context();
      await context?.setOffline(true);
      await context?.setOffline(false);
    },
    async close() {
      await (await opened)?.page.context().close();
    },
  };
};
