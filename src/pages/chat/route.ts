import { useCallback, useEffect, useState } from "react";

const base = "/chat";

/** The session whose room is open, by the page's address. */
const openIn = (path: string): string | undefined => {
  const [, id] = /^\/chat\/([^/]+)$/.exec(path) ?? [];
  return id === undefined ? undefined : decodeURIComponent(id);
};

export const useRoute = (): {
  readonly open: string | undefined;
  readonly go: (session: string | undefined, how?: "replace") => void;
} => {
  const [open, setOpen] = useState(() => openIn(location.pathname));
  useEffect(() => {
    const changed = (): void => setOpen(openIn(location.pathname));
    window.addEventListener("popstate", changed);
    return () => window.removeEventListener("popstate", changed);
  }, []);
  const go = useCallback((session: string | undefined, how?: "replace") => {
    const path = session === undefined ? base : `${base}/${encodeURIComponent(session)}`;
    if (how === "replace") history.replaceState(null, "", path);
    else if (path !== location.pathname) history.pushState(null, "", path);
    setOpen(session);
  }, []);
  return { open, go };
};

/** What an address brings after its `#`: a key or an invitation. It is gone from the address when this returns. */
export const takeFragment = (): { readonly key?: string; readonly invite?: string } => {
  const given = new URLSearchParams(location.hash.slice(1));
  if (location.hash !== "") history.replaceState(null, "", location.pathname + location.search);
  const [key, invite] = [given.get("key"), given.get("invite")];
  return { ...(key !== null && { key }), ...(invite !== null && { invite }) };
};
