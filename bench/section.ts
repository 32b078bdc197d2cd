/** A figure, or what there is instead of one. */
export type Value = number | string;

/** A table of the report: what was compared stands in its columns, what was measured in its rows. */
export interface Section {
  readonly name: string;
  readonly title: string;
  /** Heads of the columns by their key. */
  readonly columns: Readonly<Record<string, string>>;
  /** Columns whose figures are divided by another's. */
  readonly ratios: readonly { readonly head: string; readonly of: string; readonly to: string }[];
  readonly rows: readonly Row[];
  /** What was done how often. */
  readonly counts: string;
  /** What a reader of the figures must know. */
  readonly text: string;
}

export interface Row {
  readonly figure: string;
  readonly unit: string;
  /** By the key of the column; absent where there is no such figure. */
  readonly values: Readonly<Partial<Record<string, Value>>>;
  readonly aim?: string;
}

/** The ratios of a row, in the order of the section's; undefined where one of the figures is none, nothing, or below. */
export const ratiosOf = ({ ratios }: Section, { values }: Row): readonly (number | undefined)[] =>
  ratios.map(({ of, to }) => {
    const [value, other] = [values[of], values[to]];
    if (typeof value !== "number" || typeof other !== "number") return undefined;
    return value > 0 && other > 0 ? value / other : undefined;
  });

const digitsOf = (value: number): number => {
  const size = Math.abs(value);
  if (size >= 100 || Number.isInteger(value)) return 0;
  return size >= 1 ? 1 : 2;
};

const shown = (value: Value | undefined): string =>
  typeof value === "number" ? value.toFixed(digitsOf(value)) : (value ?? "–");

export interface TextTable {
  readonly heads: readonly string[];
  readonly align: readonly ("left" | "right")[];
  readonly rows: readonly (readonly string[])[];
}

/** The section as text, without its title and its words. */
export const textTable = (section: Section): TextTable => {
  const keys = Object.keys(section.columns);
  const figures = [...Object.values(section.columns), ...section.ratios.map(({ head }) => head)];
  return {
    heads: ["", "unit", ...figures, "aim"],
    align: ["left", "left", ...figures.map(() => "right" as const), "left"],
    rows: section.rows.map((row) => [
      row.figure,
      row.unit,
      ...keys.map((key) => shown(row.values[key])),
      ...ratiosOf(section, row).map((ratio) => ratio?.toFixed(2) ?? "–"),
      row.aim ?? "",
    ]),
  };
};
