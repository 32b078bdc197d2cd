import { Secret } from "../kernel/secret.ts";

const masked = "[secret]";
const secretKeys: ReadonlySet<string> = new Set([
  "authorization",
  "token",
  "apikey",
  "connectiontoken",
  "githubtoken",
  "bearertoken",
  "password",
]);
const credentials =
  /\b(?:gh[pousr]_[A-Za-z0-9]{8,}|github_pat_[A-Za-z0-9_]{8,}|sk-[A-Za-z0-9_-]{16,})|(?<=\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}/gi;

/** The text with everything that looks like a credential replaced: GitHub tokens, provider keys, bearer values. */
export const maskCredentials = (text: string): string => text.replace(credentials, masked);

/** How much of a log line's fields is kept; what goes over it is cut and says so. */
const limits = { depth: 6, entries: 64, text: 4_096, total: 16_384 };

/** The text masked, and at most `length` characters of it, with a note if there was more. */
export const loggableText = (text: string, length: number = limits.text): string => {
  // Masked before the final cut, so that no cut leaves the readable head of a credential.
  const kept = maskCredentials(text.slice(0, length + limits.text));
  return text.length <= length && kept.length <= length
    ? kept
    : `${kept.slice(0, length)}… [cut, of ${text.length}]`;
};

/**
 * A copy of log fields that is safe and bounded: `Secret`s, keys that name a credential and texts that look
 * like one are masked at any depth; long texts, wide or deep values are cut.
 */
export const loggable = (fields: Readonly<Record<string, unknown>>): Record<string, unknown> => {
  let left = limits.total;

  const text = (value: string): string => {
    const kept = loggableText(value, Math.min(limits.text, Math.max(left, 0)));
    left -= kept.length;
    return kept;
  };

  const object = (entries: Iterable<readonly [string, unknown]>, depth: number): Record<string, unknown> => {
    const copy: Record<string, unknown> = {};
    let count = 0;
    for (const [key, value] of entries) {
      if (count++ >= limits.entries || left <= 0) {
        copy.cut = true;
        break;
      }
      left -= key.length;
      copy[key] = secretKeys.has(key.toLowerCase()) && value !== undefined ? masked : any(value, depth + 1);
    }
    return copy;
  };

  const any = (value: unknown, depth: number): unknown => {
    if (value instanceof Secret) return masked;
    switch (typeof value) {
      case "string":
        return text(value);
      case "object":
        break;
      case "bigint":
      case "symbol":
      case "function":
        return text(String(value));
      default:
        return value;
    }
    if (value === null) return null;
    if (depth > limits.depth) return "[deep]";
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
    if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
    if (value instanceof Error) return object(errorEntries(value), depth);
    if (Array.isArray(value)) {
      return value
        .slice(0, limits.entries)
        .map((item: unknown) => (left > 0 ? any(item, depth + 1) : "[cut]"));
    }
    if (value instanceof Map || value instanceof Set) return `[${value.size} entries]`;
    return object(Object.entries(value), depth);
  };

  return object(Object.entries(fields), 0);
};

const errorEntries = (error: Error): (readonly [string, unknown])[] => {
  const entries: (readonly [string, unknown])[] = [
    ["name", error.name],
    ["message", error.message],
    ...Object.entries(error).filter(([key]) => key !== "name" && key !== "message"),
    ["stack", error.stack],
  ];
  if (error.cause !== undefined) entries.push(["cause", error.cause]);
  return entries;
};
