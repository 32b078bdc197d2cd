import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from "playwright-core";
import { expect } from "vitest";
import { tempDir } from "../support/temp.ts";
import { type TestNode, type UserName, users } from "../support/test-node.ts";

/** Where the run puts what it has seen; git does not. */
const shots = fileURLToPath(new URL("../../artifacts/screenshots/", import.meta.url));

export type ChromiumBrowser = Browser & AsyncDisposable;

/** Debian's Chromium. It needs to know nothing of this machine. */
export const launchChromium = async (): Promise<ChromiumBrowser> => {
  const home = await tempDir("chromium");
  const browser = await chromium
    .launch({
      executablePath: "/usr/bin/chromium",
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
      env: { PATH: process.env.PATH ?? "", HOME: home.path },
    })
    .catch((cause: unknown) => {
      throw new Error("These tests need /usr/bin/chromium (Debian's package chromium).", { cause });
    });
  return Object.assign(browser, {
    [Symbol.asyncDispose]: async () => {
      await browser.close();
      await home.remove();
    },
  });
};

/** One person at one browser. */
export interface Person {
  readonly user: UserName;
  readonly page: Page;
  readonly context: BrowserContext;
  /** What a page must not do: errors, violations of its policy, requests to anybody but the node. */
  readonly wrong: readonly string[];
}

export const phone: BrowserContextOptions = {
  viewport: { width: 390, height: 844 },
  deviceScaleFactor: 2,
  hasTouch: true,
  isMobile: true,
};

/** Errors that a page cannot keep out of the console: that an answer was none of 2xx. */
const ofNoImportance = /^Failed to load resource: /;

export const personAt = async (
  browser: Browser,
  node: Pick<TestNode, "baseUrl">,
  user: UserName,
  options: BrowserContextOptions = {},
): Promise<Person> => {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 },
    reducedMotion: "reduce",
    baseURL: node.baseUrl,
    ...options,
  });
  const page = await context.newPage();
  const wrong: string[] = [];
  page.on("console", (message) => {
    const text = message.text();
    if (["error", "warning"].includes(message.type()) && !ofNoImportance.test(text)) wrong.push(text);
  });
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("dialog", (dialog) => {
    wrong.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(node.baseUrl)) wrong.push(`a request to ${request.url()}`);
  });
  page.setDefaultTimeout(20_000);
  return { user, page, context, wrong };
};

/** Closes what they look at; the pages have done nothing wrong. */
export const leave = async (...people: readonly Person[]): Promise<void> => {
  for (const { wrong, context } of people) {
    await context.close();
    expect(wrong).toEqual([]);
  }
};

/** Signs in by a link, as the demo's are. */
export const signIn = async (
  { page, user }: Pick<Person, "page" | "user">,
  path = "/chat",
): Promise<void> => {
  await page.goto(`${path}#key=${users[user].key}`);
  await page.locator(".list").waitFor({ state: "attached" });
};

/** Signs in and makes a room; its session's id. */
export const newRoom = async (person: Person): Promise<string> => {
  const { page } = person;
  if (!page.url().includes("/chat")) await signIn(person);
  const before = page.url();
  await page.getByRole("button", { name: "New chat" }).click();
  await page.waitForURL((url) => url.href !== before && url.pathname.startsWith("/chat/ses_"));
  await page.getByText("Say something").waitFor();
  return new URL(page.url()).pathname.slice("/chat/".length);
};

/** Signs in where this room is. */
export const openRoom = async (person: Person, id: string): Promise<void> => {
  await signIn(person, `/chat/${id}`);
  await person.page.locator('.column[aria-busy="false"]').waitFor();
};

export const say = async ({ page }: Pick<Person, "page">, text: string): Promise<void> => {
  const box = page.getByLabel("Message", { exact: true });
  await box.fill(text);
  await box.press("Enter");
};

/** What is shown in the room, from above to below: who, and what. */
export const conversation = ({ page }: Pick<Person, "page">): Promise<readonly string[]> =>
  page.locator(".column > article").evaluateAll((all) =>
    all.map((one) => {
      const who = one.querySelector(".sender-name")?.textContent ?? "Assistant";
      return `${who}: ${one.querySelector(".markdown")?.textContent ?? ""}`;
    }),
  );

export const shot = async ({ page }: Pick<Person, "page">, name: string): Promise<void> => {
  await mkdir(shots, { recursive: true });
  await page.screenshot({ path: join(shots, `${name}.png`) });
};
