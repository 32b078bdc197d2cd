import { describe, expect, it } from "vitest";
import { curlLine, demoPage, sdkSnippet } from "../../../src/cli/demo-page.ts";

const demo = {
  http: "http://127.0.0.1:8080",
  sdk: "127.0.0.1:4321",
  model: "http://127.0.0.1:5000/v1",
  users: [
    { tenant: "acme", user: "alice", key: "key-a", roles: ["user"] },
    { tenant: "acme", user: "bob", key: "key-b", roles: ["user"] },
    { tenant: "ops", user: "operator", key: "key-o", roles: ["admin"] },
  ],
  room: "ses_1",
};

describe("the demo's page", () => {
  it("says that the model is none", () => {
    expect(demoPage(demo, {})).toContain("a script, not an AI");
  });

  it("has a link for each of the two that signs in", () => {
    expect(demoPage(demo, {})).toContain("http://127.0.0.1:8080/chat/ses_1#key=key-a");
    expect(demoPage(demo, {})).toContain("http://127.0.0.1:8080/chat/ses_1#key=key-b");
  });

  it("goes around a proxy only where curl would take one", () => {
    expect(curlLine(demo, {})).not.toContain("noproxy");
    expect(curlLine(demo, { http_proxy: "http://proxy:3128" })).toContain("--noproxy '*'");
    // curl reads this one in lower case only.
    expect(curlLine(demo, { HTTP_PROXY: "http://proxy:3128" })).not.toContain("noproxy");
  });

  it("shows one user's key to curl and the other's to the SDK", () => {
    expect(curlLine(demo, {})).toMatch(/key-a/);
    expect(sdkSnippet(demo)).toMatch(/key-b/);
    expect(sdkSnippet(demo).split("\n")).toHaveLength(6);
  });
});
