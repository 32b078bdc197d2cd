import type { Section } from "./section.ts";

/** What every phase is given. */
export interface Bench {
  readonly modelUrl: string;
  /** A short run: fewer of everything. */
  readonly quick: boolean;
  /** Where the node of the first phase writes its processor profile. */
  readonly profileDirectory: string | undefined;
}

/** Measures one thing on processes of its own, and ends them. */
export type Phase = (bench: Bench) => Promise<Section>;
