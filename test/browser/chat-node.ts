import type { BrowserContextOptions } from "playwright-core";
import { startTestNode, type TestNode, type UserName } from "../support/test-node.ts";
import { startToolServer, type ToolServer, webhookTool } from "../support/tool-server.ts";
import { type ChromiumBrowser, launchChromium, type Person, personAt } from "./harness.ts";

/** What the tests of a file share: a node with a scripted model, the service that its tools ask, and a browser. */
export interface ChatNode extends AsyncDisposable {
  readonly squadron: TestNode;
  readonly tools: ToolServer;
  readonly browser: ChromiumBrowser;
  /** Somebody who looks at this node. */
  person(user: UserName, options?: BrowserContextOptions): Promise<Person>;
}

/** Sessions have the tools `weather`, and `warn_people`, which needs a permission. */
export const startChatNode = async (): Promise<ChatNode> => {
  await using starting = new AsyncDisposableStack();
  const tools = starting.use(
    await startToolServer({ "/weather": (_, response) => response.end("Rain until four, then sun.") }),
  );
  const tool = (name: string, needsPermission: boolean) =>
    webhookTool(name, `${tools.url}/weather`, { needsPermission });
  const squadron = starting.use(
    await startTestNode({
      isolation: "shared",
      allow: { tools: ["custom:*", "builtin:ask_user"] },
      policy: {
        httpSessions: { tools: [tool("weather", false), tool("warn_people", true)], mcpServers: {} },
      },
    }),
  );
  const browser = starting.use(await launchChromium());
  const started = starting.move();
  return {
    squadron,
    tools,
    browser,
    person: (user, options) => personAt(browser, squadron, user, options),
    [Symbol.asyncDispose]: () => started.disposeAsync(),
  };
};
