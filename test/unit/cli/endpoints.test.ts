import { expect, it } from "vitest";
import { dialable } from "../../../src/endpoints.ts";

it.each([
  ["127.0.0.1", "127.0.0.1:80"],
  ["0.0.0.0", "127.0.0.1:80"],
  ["::", "[::1]:80"],
  ["::1", "[::1]:80"],
  ["10.1.2.3", "10.1.2.3:80"],
  ["node-1.internal", "node-1.internal:80"],
])("a listener on %s is dialled at %s", (host, expected) => {
  expect(dialable({ host, port: 80 })).toBe(expected);
});
