import type { Runtime } from "../fleet/fleet.ts";

/**
 * Where a session is: only in the store, on its way into a runtime, in its memory, on its way out of it, or gone for
 * good. A session leaves for many reasons and always the same way.
 */
export type Life =
  | { readonly kind: "hibernated" }
  | { readonly kind: "waking"; readonly runtime: Runtime }
  | { readonly kind: "live"; readonly runtime: Runtime }
  | { readonly kind: "settling"; readonly runtime: Runtime }
  | { readonly kind: "deleted" };

export type LifeChange =
  | { readonly kind: "wake"; readonly runtime: Runtime }
  | { readonly kind: "awake" }
  | { readonly kind: "settle" }
  | { readonly kind: "sleep" }
  | { readonly kind: "delete" };

/** The one transition function of a session's life. A deleted session stays deleted whatever comes late. */
export const nextLife = (life: Life, change: LifeChange): Life => {
  if (life.kind === "deleted") return life;
  switch (change.kind) {
    case "wake":
      return { kind: "waking", runtime: change.runtime };
    case "awake":
      return life.kind === "waking" ? { kind: "live", runtime: life.runtime } : life;
    case "settle":
      return life.kind === "live" ? { kind: "settling", runtime: life.runtime } : life;
    case "sleep":
      return { kind: "hibernated" };
    case "delete":
      return { kind: "deleted" };
  }
};

/** The runtime whose events and callbacks for the session count. */
export const runtimeOf = (life: Life): Runtime | undefined => ("runtime" in life ? life.runtime : undefined);
