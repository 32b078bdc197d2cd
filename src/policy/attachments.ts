import type { Allow } from "../config/config.ts";
import { isObject } from "../kernel/json.ts";
import { liesWithin } from "./paths.ts";
import { inside, malformed, type Place, refused } from "./refusal.ts";

/**
 * Kinds whose content is in the message itself. Of a selection and of GitHub references a runtime only writes into
 * the prompt what the message says: it opens neither `filePath` nor `url` (tried).
 */
const inlineKinds: ReadonlySet<string> = new Set([
  ...["blob", "selection", "extension_context", "github_reference", "github_commit", "github_release"],
  ...["github_actions_job", "github_repository", "github_file_diff", "github_tree_comparison", "github_url"],
  ...["github_file", "github_snippet"],
]);
/** Kinds that name something on the runtime's host. */
const hostKinds: ReadonlySet<string> = new Set(["file", "directory"]);

/** Fields that are content or are shown; one that is not here could lead to somebody's files (`assetId`). */
const shownFields: ReadonlySet<string> = new Set([
  ...[
    "type",
    "displayName",
    "mimeType",
    "byteLength",
    "data",
    "text",
    "selection",
    "lineRange",
    "omittedReason",
  ],
  ...[
    "title",
    "payload",
    "extensionId",
    "canvasId",
    "instanceId",
    "capturedAt",
    "filePath",
    "path",
    "repo",
    "ref",
  ],
  ...["number", "referenceType", "state", "url", "oid", "message", "tagName", "name", "jobId", "jobName"],
  ...["workflowName", "conclusion", "description", "head", "base"],
]);

/** Attachments with their content in them; files only where `policy.allow.workingDirectories` allows. */
export const checkAttachments = (value: unknown, allow: Allow, place: Place): unknown => {
  if (!Array.isArray(value)) throw malformed(place, "a list");
  value.forEach((item: unknown, index) => {
    const at = inside(place, index);
    if (!isObject(item)) throw malformed(at, "an object");
    const { type: kind, path } = item;
    if (typeof kind !== "string" || !(inlineKinds.has(kind) || hostKinds.has(kind))) {
      throw refused({ ...inside(at, "type"), opens: null }, "no such kind of attachment is known.");
    }
    for (const [name, field] of Object.entries(item)) {
      if (shownFields.has(name) || field === undefined || field === null) continue;
      throw refused({ ...inside(at, name), opens: null }, "no such part of an attachment is known.");
    }
    const reaches = allow.all || (typeof path === "string" && liesWithin(allow.workingDirectories, path));
    if (hostKinds.has(kind) && !reaches) {
      throw refused(inside(at, "path"), "it is a file of the host; attach the content as a blob.");
    }
  });
  return value;
};
