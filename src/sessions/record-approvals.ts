import { isObject } from "../kernel/json.ts";
import { recordAfterPaths, type SessionRecord } from "./record.ts";

/** More than a runtime asks at once. */
const maxOpen = 100;

const pathsAsked = (data: Record<string, unknown>): readonly string[] => {
  const prompt = data.promptRequest;
  if (!isObject(prompt) || prompt.kind !== "path" || !Array.isArray(prompt.paths)) return [];
  return prompt.paths.filter((path) => typeof path === "string");
};

/**
 * Folds approvals of paths: which paths is said in the request, that they are approved for the session in its end.
 * Takes the events of one session in their order; what is still open when the runtime ends need not be folded.
 */
export const createPathApprovals = (): ((
  record: SessionRecord,
  type: string,
  data: unknown,
) => SessionRecord) => {
  const open = new Map<string, readonly string[]>();
  return (record, type, data) => {
    if (!isObject(data) || typeof data.requestId !== "string") return record;
    if (type === "permission.requested") {
      const paths = pathsAsked(data);
      if (paths.length > 0 && open.size < maxOpen) open.set(data.requestId, paths);
    }
    if (type !== "permission.completed") return record;
    const paths = open.get(data.requestId);
    open.delete(data.requestId);
    const approved = isObject(data.result) && data.result.kind === "approved-for-session";
    return approved && paths !== undefined ? recordAfterPaths(record, paths) : record;
  };
};
