import { useCallback, useEffect, useRef, useState } from "react";
import { ApiError, api, type Me, messageOf } from "./api.ts";
import { Chats } from "./chats.tsx";
import { Notice } from "./notice.tsx";
import { takeFragment, useRoute } from "./route.ts";
import { SignIn } from "./sign-in.tsx";
import { texts } from "./texts.ts";

type Who =
  | { readonly kind: "unknown" }
  | { readonly kind: "nobody"; readonly error: string | undefined }
  | { readonly kind: "somebody"; readonly me: Me };

/**
 * May this browser be signed in with the key of a link? If it is signed in as somebody else, only when the person says so:
 * whoever made the link would read what is written then.
 */
const mayEnter = async (key: string): Promise<boolean> => {
  const [now, next] = await Promise.all(
    [api.signedInAs(), api.whoseKey(key)].map((one) => one.catch(() => undefined)),
  );
  if (now === undefined) return true;
  if (next === undefined) return false;
  if (now.tenant === next.tenant && now.user === next.user) return true;
  return window.confirm(texts.signIn.instead(now.user, next.user));
};

const isUnauthenticated = (error: unknown): boolean => error instanceof ApiError && error.status === 401;

export const App = () => {
  const [who, setWho] = useState<Who>({ kind: "unknown" });
  const [notice, setNotice] = useState<string>();
  const invite = useRef<string>(undefined);
  const begun = useRef(false);
  const { open, go } = useRoute();

  /** Joins by the invitation that the address has brought, if it has. */
  const join = useCallback(async () => {
    const token = invite.current;
    invite.current = undefined;
    if (token === undefined) return;
    try {
      go((await api.accept(token)).id, "replace");
      setNotice(texts.share.accepted);
    } catch (error) {
      const gone = error instanceof ApiError && error.status === 404;
      setNotice(gone ? texts.share.invalid : messageOf(error));
    }
  }, [go]);

  const enter = useCallback(
    async (key?: string) => {
      const wrong = key === undefined ? undefined : texts.signIn.wrong;
      try {
        if (key !== undefined) await api.signIn(key);
        const me = await api.signedInAs();
        if (me === undefined) return setWho({ kind: "nobody", error: wrong });
        await join();
        setWho({ kind: "somebody", me });
      } catch (error) {
        setWho({ kind: "nobody", error: isUnauthenticated(error) ? wrong : messageOf(error) });
      }
    },
    [join],
  );

  useEffect(() => {
    const beginWith = async (key: string | undefined): Promise<void> =>
      enter(key !== undefined && (await mayEnter(key)) ? key : undefined);
    const begin = (): void => {
      const { key, invite: given } = takeFragment();
      if (begun.current && key === undefined && given === undefined) return;
      begun.current = true;
      invite.current = given;
      void beginWith(key);
    };
    if (!begun.current) begin();
    // A link that was opened where the page is open already.
    window.addEventListener("hashchange", begin);
    return () => window.removeEventListener("hashchange", begin);
  }, [enter]);

  const signOut = useCallback(async () => {
    await api.signOut().catch(() => undefined);
    go(undefined, "replace");
    setWho({ kind: "nobody", error: undefined });
  }, [go]);

  const signedOut = useCallback(() => setWho({ kind: "nobody", error: texts.signIn.ended }), []);

  switch (who.kind) {
    case "unknown":
      return <main className="blank" aria-label={texts.loading} aria-busy="true" />;
    case "nobody":
      return <SignIn error={who.error} onKey={enter} />;
    case "somebody":
      return (
        <>
          <Chats
            key={`${who.me.tenant} ${who.me.user}`}
            me={who.me}
            open={open}
            go={go}
            onNotice={setNotice}
            onSignOut={signOut}
            onSignedOut={signedOut}
          />
          <Notice text={notice} onClose={() => setNotice(undefined)} />
        </>
      );
  }
};
