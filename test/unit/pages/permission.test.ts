import { describe, expect, it } from "vitest";
import { fieldsOf, valuesOf } from "../../../src/pages/chat/elicitation.ts";
import { permissionOf } from "../../../src/pages/chat/permission.ts";

describe("a permission that is asked for", () => {
  it("shows the whole of what would be done", () => {
    const asked = { permissionRequest: { kind: "shell", fullCommandText: "rm -r x", intention: "Tidy up" } };
    expect(permissionOf(asked)).toEqual({ name: "shell", why: "Tidy up", what: ["rm -r x"] });
    const write = { permissionRequest: { kind: "write", fileName: "a.txt", newFileContents: "hello" } };
    expect(permissionOf(write).what).toEqual(["a.txt", "hello"]);
    const mcp = {
      permissionRequest: { kind: "mcp", serverName: "issues", toolName: "find", args: { q: 1 } },
    };
    expect(permissionOf(mcp)).toMatchObject({ name: "issues · find", what: ['{\n  "q": 1\n}'] });
    const webhook = {
      permissionRequest: { kind: "custom-tool", toolName: "pay", toolDescription: "Pays", args: {} },
    };
    expect(permissionOf(webhook)).toEqual({ name: "pay", why: "Pays", what: ["{}"] });
  });

  it("of a kind that is not known shows everything", () => {
    const asked = { permissionRequest: { kind: "new-kind", power: "all", toolCallId: "c" } };
    expect(permissionOf(asked)).toEqual({ name: "new-kind", why: "", what: ['{\n  "power": "all"\n}'] });
  });
});

describe("a form", () => {
  const detail = {
    requestedSchema: {
      type: "object",
      properties: {
        n: { type: "integer", title: "Number" },
        colour: { type: "string", enum: ["red", "blue"], default: "blue" },
        sure: { type: "boolean" },
        note: { type: "string", description: "If you like" },
      },
      required: ["n"],
    },
  };

  it("has a field for each property, and gives what the schema wants", () => {
    const fields = fieldsOf(detail);
    expect(fields.map(({ name, kind, required, initial }) => [name, kind, required, initial])).toEqual([
      ["n", "number", true, ""],
      ["colour", "choice", false, "blue"],
      ["sure", "yes", false, ""],
      ["note", "text", false, ""],
    ]);
    const given = new Map<string, unknown>([
      ["n", "3"],
      ["colour", "red"],
      ["note", ""],
    ]);
    expect(valuesOf(fields, { get: (name) => given.get(name) ?? null })).toEqual({
      n: 3,
      colour: "red",
      sure: false,
    });
  });
});
