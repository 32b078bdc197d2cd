import { describe, expect, it } from "vitest";
import { blocksOf, safeAddress, unescaped } from "../../../src/pages/chat/markdown.ts";

describe("a message's Markdown", () => {
  it("has links to pages and mailboxes alone", () => {
    expect(safeAddress("https://example.com/a?b=c#d")).toBe("https://example.com/a?b=c#d");
    expect(safeAddress(" mailto:a@example.com ")).toBe("mailto:a@example.com");
    for (const address of [
      "javascript:alert(1)",
      "JaVaScRiPt:alert(1)",
      " java\nscript:alert(1)",
      "java&#x0A;script:alert(1)",
      "&#106;avascript:alert(1)",
      "data:text/html,<script>alert(1)</script>",
      "vbscript:x",
      "file:///etc/passwd",
      "blob:https://example.com/1",
      "/v1/browser-session",
      "//example.com",
      "#key=stolen",
      "",
    ])
      expect([address, safeAddress(address)]).toEqual([address, undefined]);
  });

  it("writes characters as they are meant, and knows no others", () => {
    expect(unescaped("a &lt;b&gt; &amp;amp; &#39;&#x41; &nothing; &constructor;")).toBe(
      "a <b> &amp; 'A &nothing; &constructor;",
    );
    expect(unescaped("&#0; &#xD800; &#x110000;")).toBe("&#0; &#xD800; &#x110000;");
  });

  it("is shown as it stands when it is longer or deeper than anybody can read", () => {
    expect(blocksOf("*a* ".repeat(60_000)).tokens).toMatchObject([{ type: "html" }]);
    const deep = ">".repeat(50_000);
    expect(
      blocksOf(deep)
        .tokens.map(({ raw }) => raw)
        .join(""),
    ).toBe(deep);
  });

  it("keeps its blocks while it grows, so that what was drawn stays", () => {
    const text = "# Title\n\nSome *words*.\n\n```js\nlet a = 1;\n```\n\n- one\n- two\n\nThe end.";
    const whole = blocksOf(text).tokens.map(({ raw }) => raw);
    for (let end = 1; end < text.length; end++) {
      const part = blocksOf(text.slice(0, end)).tokens.map(({ raw }) => raw);
      // All but the last two, one of which may be the space between them.
      for (const [at, raw] of part.slice(0, -2).entries()) expect(raw).toBe(whole[at]);
    }
  });
});
