/** Why a runtime is worn out, or is to be replaced for another reason: it takes no new session, and ends when it is empty. */
export type RetireReason =
  | "turns"
  | "memory"
  | "memory_budget"
  | "age"
  | "open_files"
  | "slow"
  /** Whoever retired it gave no reason, and it was not worn out. */
  | "requested";

/**
 * Why a runtime ends. By itself: it exited or closed its pipe, whichever we notice first. Unresponsive: it left a
 * probe unanswered. Surplus: a spare for which there is no room any more.
 */
export type StopReason = "released" | "closing" | "start_failed" | "by_itself" | "unresponsive" | "surplus";

/** How a process ended: its exit code or the signal that ended it; neither if it never ran. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** The end of a process that was never started, or whose end nobody saw. */
export const neverRan: Exit = { code: null, signal: null };

/**
 * A runtime from its start to its end. spare: it has answered and belongs to no unit yet. binding: its unit's files
 * are being put there. retiring: its unit has, or will get, another one.
 */
export type Life =
  | { readonly state: "starting" }
  | { readonly state: "spare" }
  | { readonly state: "binding" }
  | { readonly state: "ready" }
  | { readonly state: "retiring"; readonly reason: RetireReason }
  | { readonly state: "stopping"; readonly reason: StopReason }
  | { readonly state: "gone"; readonly reason: StopReason; readonly exit: Exit };

export type LifeEvent =
  | { readonly kind: "answered" }
  | { readonly kind: "bind" }
  | { readonly kind: "populated" }
  | { readonly kind: "retire"; readonly reason: RetireReason }
  | { readonly kind: "stop"; readonly reason: StopReason }
  | { readonly kind: "exited"; readonly exit: Exit };

export const newLife: Life = { state: "starting" };

/** The one transition function. Events that come too late or too early change nothing: the first reason stays. */
export const nextLife = (life: Life, event: LifeEvent): Life => {
  if (life.state === "gone") return life;
  switch (event.kind) {
    case "answered":
      return life.state === "starting" ? { state: "spare" } : life;
    case "bind":
      return life.state === "spare" ? { state: "binding" } : life;
    case "populated":
      return life.state === "binding" ? { state: "ready" } : life;
    case "retire":
      return life.state === "ready" ? { state: "retiring", reason: event.reason } : life;
    case "stop":
      return life.state === "stopping" ? life : { state: "stopping", reason: event.reason };
    case "exited":
      return {
        state: "gone",
        reason: life.state === "stopping" ? life.reason : "by_itself",
        exit: event.exit,
      };
  }
};
