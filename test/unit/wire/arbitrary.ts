import fc from "fast-check";

/** Cuts bytes at arbitrary places. */
export const cutInto = (bytes: Buffer, cuts: readonly number[]): Buffer[] => {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  const chunks: Buffer[] = [];
  let from = 0;
  for (const place of [...places, bytes.length]) {
    chunks.push(bytes.subarray(from, place));
    from = place;
  }
  return chunks;
};

export const cuts = fc.array(fc.nat({ max: 100_000 }), { maxLength: 40 });

/** Any well-formed text: control characters, quotes, backslashes, emoji. */
const text = fc.string({ unit: "binary", maxLength: 40 });
const longText = fc.string({
  unit: fc.constantFrom("a", '"', "\\", "\n", "é", "😀"),
  minLength: 30,
  maxLength: 400,
});
const anyText = fc.oneof({ weight: 4, arbitrary: text }, longText);
const key = fc.oneof(
  text,
  fc.constantFrom("id", "method", "params", "sessionId", "event", "type", "__proto__"),
);

const json = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom<unknown>(null, true, false, 0, -0.5, 1e21, 12),
    anyText,
    fc.array(tie("value"), { maxLength: 4 }),
    fc.array(fc.tuple(key, tie("value")), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
  ),
})).value;

const rpcId = fc.oneof(anyText, fc.maxSafeInteger());

const params = fc.oneof(
  fc.dictionary(key, json, { maxKeys: 4 }),
  fc.array(json, { maxLength: 3 }),
  fc.record(
    {
      sessionId: fc.oneof(anyText, json),
      event: fc.oneof(
        fc.record(
          { type: fc.oneof(anyText, json), id: fc.oneof(anyText, json), ephemeral: json, data: json },
          { requiredKeys: [] },
        ),
        json,
      ),
      other: json,
    },
    { requiredKeys: [] },
  ),
);

const extra = fc.record({ jsonrpc: fc.constant("2.0"), extension: json }, { requiredKeys: [] });
const error = fc.record(
  { code: fc.integer(), message: anyText, data: json },
  { requiredKeys: ["code", "message"] },
);

const messageObject: fc.Arbitrary<Record<string, unknown>> = fc
  .oneof(
    fc.tuple(extra, fc.record({ id: rpcId, method: anyText, params }, { requiredKeys: ["method"] })),
    fc.tuple(extra, fc.record({ id: rpcId, result: json })),
    fc.tuple(extra, fc.record({ id: fc.option(rpcId), error })),
  )
  .map(([a, b]) => ({ ...a, ...b }));

/** JSON text of the value with its members shuffled, white space between, and characters escaped at random. */
const spell = (value: unknown, random: (below: number) => number): string => {
  const space = () => ["", "", "", " ", "\n", "\t\r"][random(6)];
  const pad = (token: string) => `${space()}${token}${space()}`;
  if (typeof value === "string") {
    const escaped = (char: string) =>
      char.split("").map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
    const chars = [...value].map((char) =>
      random(8) === 0 ? escaped(char).join("") : JSON.stringify(char).slice(1, -1),
    );
    return pad(`"${chars.join("")}"`);
  }
  if (Array.isArray(value)) return pad(`[${value.map((item) => spell(item, random)).join(",")}${space()}]`);
  if (typeof value !== "object" || value === null) return pad(JSON.stringify(value));
  const members = Object.entries(value).map(
    ([name, member]) => `${spell(name, random)}:${spell(member, random)}`,
  );
  for (let i = members.length - 1; i > 0; i--) members.splice(random(i + 1), 0, ...members.splice(i, 1));
  return pad(`{${members.join(",")}${space()}}`);
};

export interface SpelledMessage {
  readonly value: Record<string, unknown>;
  readonly text: string;
}

/** A valid JSON-RPC message and one of the many texts that mean it. */
export const message: fc.Arbitrary<SpelledMessage> = fc
  .tuple(messageObject, fc.infiniteStream(fc.nat()))
  .map(([value, stream]) => {
    const random = (below: number): number => stream.next().value % below;
    // What JSON text can say of it: no undefined members, -0 as 0.
    const plain = JSON.parse(JSON.stringify(value));
    return { value: plain, text: spell(plain, random) };
  });
