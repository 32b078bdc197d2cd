const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat("en", { month: "short", day: "numeric" });

const dateOf = (iso: string): Date | undefined => {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? undefined : date;
};

export const timeOf = (iso: string): string => {
  const date = dateOf(iso);
  return date === undefined ? "" : clock.format(date);
};

/** The time of today, the day of anything else. */
export const whenOf = (iso: string, now = new Date()): string => {
  const date = dateOf(iso);
  if (date === undefined) return "";
  return date.toDateString() === now.toDateString() ? clock.format(date) : day.format(date);
};
