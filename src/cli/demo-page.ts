import { styled, table } from "./terminal.ts";

export interface Demo {
  /** Base URL of the HTTP API. */
  readonly http: string;
  /** host:port for the SDKs. */
  readonly sdk: string;
  readonly model: string;
  readonly users: readonly {
    readonly tenant: string;
    readonly user: string;
    readonly key: string;
    readonly roles: readonly string[];
  }[];
  /** Public id of the session that Alice and Bob share. */
  readonly room: string;
}

const indent = (text: string): string =>
  text
    .split("\n")
    .map((line) => (line === "" ? "" : `  ${line}`))
    .join("\n");

const keyOf = ({ users }: Demo, name: string): string => users.find(({ user }) => user === name)?.key ?? "";

/** Opens the shared room in a browser, and signs in there. The key is behind the `#`, which no browser sends. */
export const chatLink = (demo: Demo, user: string): string =>
  `${demo.http}/chat/${demo.room}#key=${keyOf(demo, user)}`;

/** One line for a shell. curl would send even loopback addresses to the environment's proxy. */
export const curlLine = (demo: Demo, environment: NodeJS.ProcessEnv): string => {
  const proxied = ["http_proxy", "all_proxy", "ALL_PROXY"].some((name) => (environment[name] ?? "") !== "");
  return [
    `curl -sw '\\n' ${proxied ? "--noproxy '*' " : ""}${demo.http}/v1/prompts`,
    `-H 'Authorization: Bearer ${keyOf(demo, "alice")}'`,
    `-H 'Content-Type: application/json'`,
    `-d '{"prompt": "Hello, who are you?"}'`,
  ].join(" ");
};

/** How this program is called: by its name once it is installed, by npm in a checkout. */
const squadron = import.meta.url.endsWith(".ts") ? "npm run -s squadron --" : "npx squadron";

/** A program of six lines with the official SDK, as Bob. */
export const sdkSnippet = (demo: Demo): string =>
  `import { CopilotClient, RuntimeConnection } from "@github/copilot-sdk";
const client = new CopilotClient({ connection: RuntimeConnection.forUri("${demo.sdk}", { connectionToken: "${keyOf(demo, "bob")}" }) });
const session = await client.createSession({ sessionId: "first" });
const answer = await session.sendAndWait({ prompt: "Hello from the SDK" });
console.log(answer?.data.content);
await client.stop();`;

/** What the demo prints: where it is, who may use it, and something to try that works as it stands. */
export const demoPage = (demo: Demo, environment: NodeJS.ProcessEnv): string => {
  const heading = (text: string) => styled("bold", text);
  const places = [
    ["Chat room", `${demo.http}/chat`],
    ["HTTP API", `${demo.http}/docs`],
    ["SDK endpoint", demo.sdk],
    ["Model", `${demo.model}  (a script, not an AI: it says back what you say)`],
  ].map(([name = "", value = ""]) => `${styled("dim", name.padEnd(14))}${value}`);
  const users = demo.users.map(({ tenant, user, roles, key }) => [tenant, user, roles.join(", "), key]);
  return `
${heading("Squadron demo")}: a whole node on this machine, with everything in a temporary directory.

${indent(places.join("\n"))}

${indent(table(["TENANT", "USER", "ROLE", "KEY"], users))}

${heading("Open the room that they share")}, as Alice, and as Bob in a private window (the links sign in):

${styled("cyan", chatLink(demo, "alice"))}
${styled("cyan", chatLink(demo, "bob"))}

${heading("Ask as Alice")}, in another terminal:

${styled("cyan", curlLine(demo, environment))}

${heading("Or with the official SDK")}, as Bob, who sees of Alice only what she shares (save here as try.mjs, run with node):

${styled("cyan", sdkSnippet(demo))}

${heading("See what runs")}, as the operator:

${styled("cyan", `${squadron} status --url ${demo.http} --key ${keyOf(demo, "operator")}`)}

Ctrl-C ends the demo and leaves nothing behind.
`;
};
