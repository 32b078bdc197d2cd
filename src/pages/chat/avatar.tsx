const hues = 12;

/** The same for a name everywhere; the colours are in the style sheet. */
const hueOf = (name: string): number => {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  return sum % hues;
};

const initialOf = (name: string): string => [...name.trim()][0]?.toUpperCase() ?? "?";

export const Avatar = ({ name, here }: { readonly name: string; readonly here?: boolean }) => (
  <span className={`avatar hue-${hueOf(name)}${here === true ? " is-here" : ""}`} aria-hidden="true">
    {initialOf(name)}
  </span>
);
