import { type Json, record, shown, text } from "./json.ts";

/** What is asked for: who wants it, why, and the whole of what would be done. */
export interface Permission {
  readonly name: string;
  readonly why: string;
  readonly what: readonly string[];
}

/** The texts that say what would be done, in the order in which one reads them. */
const telling = [
  "fullCommandText",
  "warning",
  "fileName",
  "path",
  "url",
  "diff",
  "args",
  "toolArgs",
  "hookMessage",
  "fact",
];
/** Named elsewhere, or no help in deciding. */
const aside = new Set([
  "kind",
  "toolCallId",
  "toolName",
  "toolTitle",
  "toolDescription",
  "intention",
  "serverName",
]);

/** Reads a permission request as the runtime says it. Of a kind that is not known everything is shown. */
export const permissionOf = (detail: Json): Permission => {
  const asked = record(detail.permissionRequest ?? detail);
  const name = [text(asked.serverName), text(asked.toolTitle) || text(asked.toolName) || text(asked.kind)];
  const known = telling.map((field) => shown(asked[field])).filter((one) => one !== "");
  const contents = text(asked.diff) === "" ? text(asked.newFileContents) : "";
  const rest = Object.fromEntries(Object.entries(asked).filter(([field]) => !aside.has(field)));
  const what = [...known, contents].filter((one) => one !== "");
  return {
    name: name.filter((one) => one !== "").join(" · "),
    why: text(asked.intention) || text(asked.toolDescription),
    what: what.length > 0 || Object.keys(rest).length === 0 ? what : [shown(rest)],
  };
};
