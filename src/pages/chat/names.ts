import type { Session } from "./api.ts";
import { texts } from "./texts.ts";

/** A name that nobody has chosen. */
const random = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/i;

export const titleOf = ({ title, name }: Pick<Session, "title" | "name">): string => {
  const own = name.split("~").at(-1) ?? name;
  return title ?? (random.test(own) ? texts.list.untitled : name);
};

/** Does every word stand somewhere in what is known of the session? */
export const matches = (session: Session, words: string): boolean => {
  const known = `${titleOf(session)} ${session.name} ${session.owner}`.toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => known.includes(word));
};
