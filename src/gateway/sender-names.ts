/**
 * How the model learns who speaks, in sessions that ask for it: a message's first line is `[user]`, and of what users write
 * no line begins with a bracket, so that none can pass for another's.
 */

/** All that could make two names look alike, or a marker end before its name does. */
const unplain = /[^\p{L}\p{N}\p{M} ._@+:/~#'-]/gu;

/** Different for different names. */
const labelOf = (user: string): string =>
  user.replace(unplain, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);

/** What looks like the bracket that begins a marker: of its kind only `(` and `{` do not. */
const bracketLike = /(?![({])\p{Ps}/gu;
const lineEnd = /[\n\r\v\f\u0085\u2028\u2029]/;
const unseen = /[\s\p{C}\p{M}]/u;

/** Is there nothing that one sees between the begin of the line and this place? */
const beginsLine = (text: string, place: number): boolean => {
  for (let at = place; at > 0; ) {
    const pair = at > 1 ? text.codePointAt(at - 2) : undefined;
    const before = pair !== undefined && pair > 0xffff ? String.fromCodePoint(pair) : text.charAt(at - 1);
    if (lineEnd.test(before)) return true;
    if (!unseen.test(before)) return false;
    at -= before.length;
  }
  return true;
};

/** In time that grows with the text alone: what one look back passes over no other does. */
const withoutMarkers = (text: string): string =>
  text.replace(bracketLike, (bracket, place: number) => (beginsLine(text, place) ? `\\${bracket}` : bracket));

/** Line ends would let the name of a file pass for more than that. */
const lineEnds = /[\p{Cc}\p{Zl}\p{Zp}]+/gu;

const withPlainName = (attachment: unknown): unknown =>
  typeof attachment === "object" &&
  attachment !== null &&
  "displayName" in attachment &&
  typeof attachment.displayName === "string"
    ? { ...attachment, displayName: attachment.displayName.replace(lineEnds, " ") }
    : attachment;

/** The parameters of a `session.send` with the sender's name for the model; clients are shown what was written. */
export const withSenderName = (
  parameters: Readonly<Record<string, unknown>>,
  user: string,
): Readonly<Record<string, unknown>> => {
  const { attachments } = parameters;
  const prompt = String(parameters.prompt ?? "");
  return {
    ...parameters,
    prompt: `[${labelOf(user)}]\n${withoutMarkers(prompt)}`,
    displayPrompt: parameters.displayPrompt ?? prompt,
    ...(Array.isArray(attachments) && { attachments: attachments.map(withPlainName) }),
  };
};
