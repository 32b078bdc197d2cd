/** Why a runtime ends. By itself: it exited or closed its pipe, whichever we notice first. */
export type StopReason = "released" | "closing" | "start_failed" | "by_itself";

/** How a process ended: its exit code or the signal that ended it; neither if it never ran. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A runtime from its start to its end. */
export type Life =
  | { readonly state: "starting" }
  | { readonly state: "ready"; readonly version: string }
  | { readonly state: "stopping"; readonly reason: StopReason }
  | { readonly state: "gone"; readonly reason: StopReason; readonly exit: Exit };

export type LifeEvent =
  | { readonly kind: "answered"; readonly version: string }
  | { readonly kind: "stop"; readonly reason: StopReason }
  | { readonly kind: "exited"; readonly exit: Exit };

export const newLife: Life = { state: "starting" };

/** The one transition function. Events that come too late change nothing: the first reason to stop stays. */
export const nextLife = (life: Life, event: LifeEvent): Life => {
  if (life.state === "gone") return life;
  switch (event.kind) {
    case "answered":
      return life.state === "starting" ? { state: "ready", version: event.version } : life;
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
