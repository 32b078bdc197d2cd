import { useCallback, useEffect, useState } from "react";
import { api, type Session } from "./api.ts";
import { isSignedOut } from "./use-outbox.ts";

const everyMs = 20_000;

export type Sessions =
  | { readonly kind: "loading" }
  | { readonly kind: "failed" }
  | { readonly kind: "there"; readonly sessions: readonly Session[] };

/** One's sessions, looked up again now and then while the page is seen. What is there stays when that fails. */
export const useSessions = (onSignedOut: () => void) => {
  const [sessions, setSessions] = useState<Sessions>({ kind: "loading" });

  const refresh = useCallback(async () => {
    try {
      setSessions({ kind: "there", sessions: await api.sessions() });
    } catch (error) {
      if (isSignedOut(error)) onSignedOut();
      else setSessions((before) => (before.kind === "there" ? before : { kind: "failed" }));
    }
  }, [onSignedOut]);

  useEffect(() => {
    const look = (): void => {
      if (document.visibilityState === "visible") void refresh();
    };
    void refresh();
    const timer = setInterval(look, everyMs);
    document.addEventListener("visibilitychange", look);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, [refresh]);

  return { sessions, refresh };
};
