import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { httpOf } from "../support/http-client.ts";
import { tempDir } from "../support/temp.ts";
import { startTestNode, users } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";
import { type ChatNode, startChatNode } from "./chat-node.ts";
import { cuttableWay } from "./cuttable.ts";
import {
  conversation,
  leave,
  newRoom,
  openRoom,
  type Person,
  personAt,
  say,
  shot,
  signIn,
} from "./harness.ts";

let chat: ChatNode;

beforeAll(async () => {
  chat = await startChatNode();
});
afterAll(async () => {
  await chat?.[Symbol.asyncDispose]();
});

/** Markdown shows spaces and line ends in its own way. */
const close = (text: string): string => text.replaceAll(/\s/g, "");

/** The conversation with the names that both would write. */
const said = async (person: Person): Promise<readonly string[]> =>
  (await conversation(person)).map((line) => line.replace(/^You: /, `${person.user}: `));

/** The same as the node has it. */
const stored = async (id: string): Promise<readonly string[]> => {
  const { body } = await httpOf(chat.squadron).call("alice", "GET", `/v1/sessions/${id}/messages?limit=500`);
  return (body.messages as { role: string; sender?: string; content: string }[]).map(
    ({ role, sender, content }) => `${role === "user" ? sender : "Assistant"}: ${content}`,
  );
};

/** Both see all of it, in one order, and so does the node. */
const agree = async (people: readonly Person[], id: string, count: number): Promise<readonly string[]> => {
  await eventually(
    async () => {
      const [first, ...others] = [await stored(id), ...(await Promise.all(people.map(said)))];
      expect(first).toHaveLength(count);
      for (const other of others) expect(other.map(close)).toEqual(first?.map(close));
      return true;
    },
    { what: `${count} messages, the same for all`, deadlineMs: 30_000 },
  );
  return stored(id);
};

const killRuntimes = (): void => {
  for (const { pid } of chat.squadron.node.fleet.list()) if (pid !== undefined) process.kill(pid, "SIGKILL");
};

/** Alice has made a room, and Bob has come by her link. */
const together = async (): Promise<{ alice: Person; bob: Person; id: string; link: string }> => {
  const alice = await chat.person("alice");
  const bob = await chat.person("bob");
  const id = await newRoom(alice);
  await alice.page.getByRole("button", { name: "Share" }).click();
  await alice.page.getByRole("button", { name: "Make a link" }).click();
  const link = await alice.page.getByLabel("Invitation link").inputValue();
  await alice.page.keyboard.press("Escape");
  // The link waits until he has signed in.
  await bob.page.goto(link);
  await bob.page.getByLabel("Your key").fill("key-bob");
  await bob.page.keyboard.press("Enter");
  await bob.page.getByText("You have joined.").waitFor();
  expect(new URL(bob.page.url()).hash).toBe("");
  expect(bob.page.url()).toContain(id);
  await alice.page.getByRole("img", { name: "Here: bob" }).waitFor();
  return { alice, bob, id, link };
};

describe("two people in one room", () => {
  it("see the same conversation in the same order, over a killed runtime and a reload in mid-stream", async () => {
    const { alice, bob, id } = await together();
    for (let round = 1; round <= 3; round++) {
      await Promise.all([
        say(alice, `[[echo for alice ${round}]]`),
        say(bob, `[[delay 5]] [[echo for bob ${round}]]`),
      ]);
    }
    const first = await agree([alice, bob], id, 12);
    for (const [at, line] of first.entries())
      if (line.startsWith("Assistant:")) expect(first[at - 1]).toContain(line.slice("Assistant: ".length));

    // Bob reloads while Alice's answer streams.
    await say(alice, "[[hold reload]] [[tokens 40]]");
    await bob.page.getByText("Answering alice").waitFor();
    await bob.page.locator(".answer").last().getByText("t1", { exact: true }).waitFor();
    await bob.page.reload();
    await bob.page.getByText("Answering alice").waitFor();
    chat.squadron.model.release("reload");
    await agree([alice, bob], id, 14);

    // A runtime ends in the middle of an answer: what was not stored is taken back for both.
    await say(bob, "[[hold kill]] [[tokens 40]]");
    await alice.page.getByText("Answering bob").waitFor();
    await alice.page.locator(".answer").last().getByText("t1", { exact: true }).waitFor();
    killRuntimes();
    await bob.page.getByText(/^The answer was interrupted/).waitFor();
    await say(alice, "[[echo after the kill]]");
    await eventually(async () => (await stored(id)).at(-1) === "Assistant: after the kill", {
      what: "the answer after the kill",
      deadlineMs: 30_000,
    });
    const kept = await stored(id);
    // What could not be stored stays with its sender, so that he can send it again.
    const lost = !kept.includes("bob: [[hold kill]] [[tokens 40]]");
    if (lost) await bob.page.getByRole("button", { name: "Discard" }).click();
    await agree([alice, bob], id, kept.length);
    await leave(alice, bob);
  });

  it("are asked for permission when it is theirs to give, and see how it was settled", async () => {
    const { alice, bob, id } = await together();
    await say(bob, '[[call warn_people {"order":"Berlin"}]]');
    const asked = (person: Person) => person.page.getByRole("group", { name: "A permission is needed" });
    await asked(bob).getByRole("button", { name: "Allow" }).waitFor();
    // Alice owns the room and may answer as well.
    await asked(alice).getByRole("button", { name: "Allow" }).waitFor();
    await shot(alice, "permission");
    await asked(bob).getByRole("button", { name: "Allow" }).click();
    await asked(alice).getByText("Allowed by bob").waitFor();
    await asked(bob).getByText("Allowed by you").waitFor();
    expect(await asked(alice).getByRole("button").count()).toBe(0);
    await agree([alice, bob], id, 2);
    expect((await said(bob)).at(-1)).toBe("Assistant: warn_people said: Rain until four, then sun.");

    await say(alice, '[[call warn_people {"order":"Paris"}]]');
    await asked(bob).last().getByText("Waits for alice").waitFor();
    expect(await asked(bob).last().getByRole("button").count()).toBe(0);
    // Who comes in the middle sees it too.
    await alice.page.reload();
    await asked(alice).getByRole("button", { name: "Deny" }).click();
    await asked(bob).last().getByText("Denied by alice").waitFor();
    // The button is gone; the focus is on what has become of the question.
    await asked(alice).last().locator("summary:focus").waitFor();
    // Who says no ends the turn.
    await agree([alice, bob], id, 3);
    expect(chat.tools.asked).toHaveLength(1);
    await shot(bob, "settled");
    await bob.page.locator(".tool summary").first().click();
    await bob.page.locator(".tool").first().getByText("Rain until four").waitFor();
    await leave(alice, bob);
  });

  it("are asked questions and given forms", async () => {
    const { alice, bob, id } = await together();
    await say(bob, '[[call ask_user {"question":"Which colour?","choices":["red","blue"]}]]');
    const question = bob.page.getByRole("group", { name: "A question" });
    await question.getByRole("button", { name: "red" }).waitFor();
    await question.getByLabel("Your answer").fill("green");
    await shot(bob, "question");
    await question.getByRole("button", { name: "Answer" }).click();
    await alice.page.getByRole("group", { name: "A question" }).getByText("Answered by bob").waitFor();
    await agree([alice, bob], id, 2);
    expect((await said(bob)).at(-1)).toContain("green");

    const { body } = await httpOf(chat.squadron).call("alice", "GET", `/v1/sessions/${id}`);
    const session = await chat.squadron.client("alice").resumeSession(String(body.name), {});
    const form = session.rpc.ui.elicitation({
      message: "How many?",
      requestedSchema: {
        type: "object",
        properties: {
          n: { type: "integer", title: "Number" },
          colour: { type: "string", enum: ["red", "blue"] },
        },
        required: ["n"],
      },
    });
    const asked = alice.page.getByRole("group", { name: "Something is to be filled in" });
    await asked.getByLabel("Number").fill("3");
    await asked.getByLabel("colour").selectOption("blue");
    await shot(alice, "form");
    expect(await bob.page.getByText("Waits for an owner").count()).toBe(1);
    await asked.getByRole("button", { name: "Submit" }).click();
    expect(await form).toMatchObject({ action: "accept", content: { n: 3, colour: "blue" } });
    await asked.getByText("Answered by you").waitFor();
    await session.disconnect();
    await leave(alice, bob);
  });

  it("see who is here and who writes", async () => {
    const { alice, bob } = await together();
    const box = alice.page.getByLabel("Message", { exact: true });
    await box.fill("I am just about to");
    await bob.page.getByText("alice is typing…").waitFor();
    await box.fill("");
    await bob.page.getByText("alice is typing…").waitFor({ state: "detached" });
    await alice.context.close();
    await bob.page.getByRole("img", { name: "Nobody else is here" }).waitFor({ state: "attached" });
    await leave(bob);
  });

  it("abort their own answers, and take back what waits", async () => {
    const { alice, bob, id } = await together();
    await say(alice, "[[hold stop]] [[tokens 9]]");
    await bob.page.getByText("Answering alice").waitFor();
    await say(bob, "I wait");
    await alice.page.getByText("Then: bob").waitFor();
    await bob.page.getByText("Then: you").waitFor();
    expect(await bob.page.getByRole("button", { name: "Stop your answer" }).count()).toBe(0);
    await bob.page.getByRole("button", { name: "Take back" }).click();
    await bob.page.getByText("I wait").waitFor({ state: "detached" });
    await alice.page.getByRole("button", { name: "Stop your answer" }).click();
    for (const { page } of [alice, bob]) await page.getByText("Stopped.").waitFor();
    expect((await stored(id)).some((line) => line.includes("I wait"))).toBe(false);
    await leave(alice, bob);
  });

  it("change who takes part, at once", async () => {
    const { alice, bob, id, link } = await together();
    const follow = async (): Promise<void> => {
      await bob.page.goto("about:blank");
      await bob.page.goto(link);
    };
    // It is used up, and shows the room to him who has used it.
    await follow();
    await bob.page.getByLabel("Message", { exact: true }).waitFor();
    expect(bob.page.url()).toContain(id);
    await alice.page.getByRole("button", { name: "Share" }).click();
    await alice.page.getByLabel("Role of bob").selectOption("reader");
    await bob.page.getByText("You may read along here.").waitFor();
    await alice.page.getByLabel("Role of bob").selectOption("writer");
    await bob.page.getByLabel("Message", { exact: true }).waitFor();
    await alice.page.getByRole("button", { name: "Remove bob" }).click();
    await bob.page.getByText("You do not take part in this chat any more.").waitFor();
    await follow();
    await bob.page.getByText("This invitation is not good any more.").waitFor();
    await alice.page.keyboard.press("Escape");
    await alice.page.getByRole("dialog").waitFor({ state: "detached" });
    await leave(alice, bob);
  });
});

describe("one's chats", () => {
  it("are found, named, left and deleted", async () => {
    const { alice, bob, id } = await together();
    await say(alice, "Which tulips shall we plant?");
    await agree([alice, bob], id, 2);
    expect(await bob.page.getByRole("button", { name: "Rename" }).count()).toBe(0);
    await alice.page.getByRole("button", { name: "Rename" }).click();
    // Nothing is clicked: the dialog opens with the name marked.
    await alice.page.keyboard.type("The garden");
    await alice.page.keyboard.press("Enter");
    for (const { page } of [alice, bob]) await page.getByRole("heading", { name: "The garden" }).waitFor();
    await newRoom(alice);
    const entries = alice.page.locator(".entry-title");
    await alice.page.getByRole("searchbox").fill("garDEN");
    await eventually(async () => (await entries.allTextContents()).join() === "The garden", {
      what: "the one that was searched for",
    });
    await alice.page.getByRole("searchbox").fill("nothing like it");
    await alice.page.getByText("Nothing found for “nothing like it”").waitFor();
    await alice.page.getByRole("searchbox").press("Escape");
    await alice.page.getByRole("button", { name: /^The garden/ }).click();
    expect(await bob.page.locator(".entry", { hasText: "The garden" }).textContent()).toContain(
      "alice’s · writer",
    );

    await bob.page.getByRole("button", { name: "Leave" }).click();
    await bob.page.getByRole("dialog").getByRole("button", { name: "Leave" }).click();
    await bob.page.getByText("Nothing open").waitFor();
    await bob.page.getByText("The garden").waitFor({ state: "detached" });

    await alice.page.getByRole("button", { name: "Delete" }).click();
    await alice.page.keyboard.press("Escape");
    await alice.page.getByRole("button", { name: "Delete" }).click();
    await alice.page.getByRole("button", { name: "Delete for everybody" }).click();
    await alice.page.getByText("Nothing open").waitFor();
    await alice.page.getByText("The garden").waitFor({ state: "detached" });
    await alice.page.goto(`/chat/${id}`);
    await alice.page.getByText("This chat has been deleted.").waitFor();
    await leave(alice, bob);
  });
});

describe("a message", () => {
  it("is sent once, though the answer to it was lost on its way", async () => {
    const alice = await chat.person("alice");
    const id = await newRoom(alice);
    let lost = 0;
    await alice.page.route("**/messages?wait=false", async (route) => {
      if (++lost > 2) return route.continue();
      await route.fetch();
      await route.abort();
    });
    await say(alice, "[[count]]");
    await say(alice, "[[echo second]]");
    await agree([alice], id, 4);
    expect(lost).toBe(4);
    expect((await stored(id))[1]).toBe("Assistant: 1");
    await leave(alice);
  });

  it("is sent when the network is back, also after the page was loaded again; the stream goes on where it was", async () => {
    const alice = await chat.person("alice");
    const id = await newRoom(alice);
    await say(alice, "[[echo before]]");
    await agree([alice], id, 2);
    await alice.page.route("**/v1/**", (route) => route.abort());
    await say(alice, "[[echo while it was away]]");
    await alice.page.getByText("Not sent yet; it is tried again.").waitFor();
    await alice.page.unroute("**/v1/**");
    await alice.page.reload();
    await agree([alice], id, 4);
    await leave(alice);
  });

  it("brings files along as bytes", async () => {
    const alice = await chat.person("alice");
    const id = await newRoom(alice);
    await alice.page.locator('input[type="file"]').setInputFiles([
      { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("Buy milk.") },
      { name: "other.txt", mimeType: "text/plain", buffer: Buffer.from("x") },
    ]);
    await alice.page.getByRole("button", { name: "Remove other.txt" }).click();
    await say(alice, "[[echo read]]");
    await agree([alice], id, 2);
    expect(await alice.page.locator(".message .chip").allTextContents()).toEqual(["notes.txt"]);
    expect(
      chat.squadron.model.requests.some((request) => JSON.stringify(request).includes("Buy milk.")),
    ).toBe(true);
    await leave(alice);
  });
});

describe("the room while an answer streams", () => {
  it("goes on where it was when its connections are cut, again and again: no word twice, none missing", async () => {
    await using way = await cuttableWay(chat.squadron.baseUrl);
    const alice = await personAt(chat.browser, way, "alice");
    const id = await newRoom(alice);
    const words = Array.from({ length: 150 }, (_, at) => `t${at + 1}`);
    await say(alice, "[[delay 15]] [[tokens 150]]");
    const answer = alice.page.locator(".answer");
    const wrong: string[] = [];
    const shown = async (): Promise<readonly string[]> => {
      const text = (await answer.allTextContents()).join("");
      const seen = text.split(/\s+/).filter((word) => word !== "");
      if (!words.join(" ").startsWith(seen.join(" "))) wrong.push(text);
      return seen;
    };
    for (const least of [10, 40, 70]) {
      await eventually(async () => (await shown()).length >= least, {
        what: `${least} words`,
        deadlineMs: 20_000,
      });
      way.cut();
    }
    await eventually(async () => (await shown()).length === words.length, { what: "the whole answer" });
    await agree([alice], id, 2);
    expect(await shown()).toEqual(words);
    expect(wrong).toEqual([]);
    await leave(alice);
  });

  it("stays where the reader is, and follows the end for who is there", async () => {
    const alice = await chat.person("alice");
    const id = await newRoom(alice);
    await say(alice, "[[tokens 1200]]");
    await agree([alice], id, 2);
    const scroller = alice.page.locator(".scroller");
    const place = () =>
      scroller.evaluate((e) => [e.scrollTop, e.scrollHeight - e.scrollTop - e.clientHeight]);
    expect((await place())[1]).toBeLessThan(2);
    await scroller.evaluate((element) => {
      element.scrollTop = 100;
    });
    await eventually(async () => (await place())[0] === 100, { what: "the reader further up" });
    const http = httpOf(chat.squadron);
    const answer = http.call("alice", "POST", `/v1/sessions/${id}/messages`, { prompt: "[[tokens 900]]" });
    const more = alice.page.getByRole("button", { name: "New messages" });
    await more.waitFor();
    await answer;
    await agree([alice], id, 4);
    expect((await place())[0]).toBe(100);
    await more.click();
    expect((await place())[1]).toBeLessThan(2);
    await more.waitFor({ state: "detached" });
    await http.call("alice", "POST", `/v1/sessions/${id}/messages`, { prompt: "[[tokens 300]]" });
    await agree([alice], id, 6);
    expect((await place())[1]).toBeLessThan(2);
    await leave(alice);
  });
});

describe("what can be copied", () => {
  it("is copied by a button, whatever the browser allows", async () => {
    const alice = await chat.person("alice");
    await newRoom(alice);
    await say(alice, "[[echo \n```js\nlet a = 1;\n```\n]]");
    const copied = async (): Promise<unknown> => {
      await alice.page.locator(".answer").getByRole("button", { name: "Copy" }).click();
      await alice.page.locator(".answer").getByRole("button", { name: "Copied" }).waitFor();
      return alice.page.evaluate("navigator.clipboard.readText()");
    };
    await alice.page.locator(".answer figure").waitFor();
    await alice.context.grantPermissions(["clipboard-read", "clipboard-write"]);
    expect(await copied()).toBe("let a = 1;");
    await alice.page.getByRole("button", { name: "Copied" }).waitFor({ state: "detached" });
    await alice.page.evaluate("navigator.clipboard.writeText('something else')");
    await alice.page.evaluate(
      "navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed'))",
    );
    expect(await copied()).toBe("let a = 1;");
    await leave(alice);
  });
});

describe("a node that starts again", () => {
  it("finds its browsers signed in, and answers what they have said meanwhile", async () => {
    await using place = await tempDir("chat-restart");
    const options = { isolation: "shared", directory: place.path } as const;
    const first = await startTestNode(options);
    await using way = await cuttableWay(first.baseUrl);
    const alice = await personAt(chat.browser, way, "alice");
    const id = await newRoom(alice);
    await say(alice, "[[echo before]]");
    await alice.page.locator(".answer", { hasText: "before" }).waitFor();
    await first.stop();
    way.cut();
    await alice.page.getByText("The connection is lost.").waitFor();
    await say(alice, "[[echo meanwhile]]");
    await alice.page.getByText("Not sent yet").waitFor();
    await using next = await startTestNode(options);
    way.lead(next.baseUrl);
    await alice.page.locator(".answer", { hasText: "meanwhile" }).waitFor();
    expect(await conversation(alice)).toEqual([
      "You: [[echo before]]",
      "Assistant: before",
      "You: [[echo meanwhile]]",
      "Assistant: meanwhile",
    ]);
    const { body } = await httpOf(next).call("alice", "GET", `/v1/sessions/${id}/messages`);
    expect(body.messages).toHaveLength(4);
    await leave(alice);
  });
});

describe("signing in", () => {
  it("is asked of who comes for the first time, without an error in the console", async () => {
    const alice = await chat.person("alice");
    const said: string[] = [];
    alice.page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) said.push(message.text());
    });
    await alice.page.goto("/chat");
    await alice.page.getByLabel("Your key").waitFor();
    expect(said).toEqual([]);
    await leave(alice);
  });

  it("ends with the key, at once", async () => {
    const made = await httpOf(chat.squadron).call("admin", "POST", "/v1/admin/keys", {
      tenant: "acme",
      user: "dora",
    });
    const alice = await chat.person("alice");
    await alice.page.goto(`/chat#key=${made.body.key}`);
    await alice.page.getByRole("button", { name: "New chat" }).click();
    await alice.page.getByText("Say something").waitFor();
    await httpOf(chat.squadron).call("admin", "DELETE", `/v1/admin/keys/${made.body.id}`);
    await alice.page.getByText("You are not signed in any more.").waitFor();
    await leave(alice);
  });

  it("leaves no key in the address, ends when it is said, and says when a key is wrong", async () => {
    const alice = await chat.person("alice");
    await alice.page.goto("/chat");
    await alice.page.getByLabel("Your key").fill("no key of anybody");
    await alice.page.keyboard.press("Enter");
    await alice.page.getByText("This key is not known here.").waitFor();
    await signIn(alice);
    expect(alice.page.url()).toBe(`${chat.squadron.baseUrl}/chat`);
    const kept = "document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage })";
    expect(await alice.page.evaluate(kept)).toBe("{}");
    const id = await newRoom(alice);
    await alice.page.getByRole("button", { name: "Sign out" }).click();
    await alice.page.getByLabel("Your key").waitFor();
    await openRoom(alice, id);
    await leave(alice);
  });

  it("as somebody else by a link is asked about: its maker would read what is written", async () => {
    const alice = await chat.person("alice");
    await signIn(alice);
    const follow = async (answer: "accept" | "dismiss"): Promise<string> => {
      const { page } = alice;
      const { promise: asked, resolve } = Promise.withResolvers<string>();
      page.removeAllListeners("dialog");
      page.once("dialog", (dialog) => {
        resolve(dialog.message());
        void dialog[answer]();
      });
      await page.goto("about:blank");
      await page.goto(`/chat#key=${users.bob.key}`);
      expect(await asked).toContain("signed in as alice");
      await page.locator(".list").waitFor({ state: "attached" });
      const me = await page.evaluate("fetch('/v1/me').then((one) => one.json())");
      return (me as { user: string }).user;
    };
    expect(await follow("dismiss")).toBe("alice");
    expect(await follow("accept")).toBe("bob");
    await leave(alice);
  });
});
