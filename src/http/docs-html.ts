import { isObject } from "../kernel/json.ts";

/** Readers of a parsed document that may lack anything. */
export const record = (value: unknown): Record<string, unknown> => (isObject(value) ? value : {});
export const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
export const string = (value: unknown): string => (typeof value === "string" ? value : "");

export const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

/** Text in which backticks mark code. */
export const inline = (text: string): string => escaped(text).replaceAll(/`([^`]+)`/g, "<code>$1</code>");

/** The same, with blank lines between paragraphs. */
export const prose = (text: string): string =>
  text === ""
    ? ""
    : text
        .split(/\n\s*\n/)
        .map((part) => `<p>${inline(part)}</p>`)
        .join("");
