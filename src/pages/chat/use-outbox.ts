import { useCallback, useEffect, useReducer, useRef } from "react";
import { ApiError, api, isPassing, messageOf } from "./api.ts";
import { type Blob64, changeOutbox, nextToSend, type Outgoing } from "./outbox.ts";

const firstWaitMs = 500;
const longestWaitMs = 8_000;
/** What is kept over a reload; more than a browser lets a page keep is not tried. */
const keptCharacters = 500_000;

/** `crypto.randomUUID` is for pages that came over HTTPS only. */
const newKey = (): string =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const nameOf = (session: string): string => `outbox ${session}`;

const keep = (session: string, outbox: readonly Outgoing[]): void => {
  const open = outbox.filter(({ state }) => state.kind !== "accepted");
  const kept = JSON.stringify(open);
  if (open.length === 0 || kept.length > keptCharacters) sessionStorage.removeItem(nameOf(session));
  else sessionStorage.setItem(nameOf(session), kept);
};

const kept = (session: string): readonly Outgoing[] =>
  JSON.parse(sessionStorage.getItem(nameOf(session)) ?? "[]") as readonly Outgoing[];

/** One's own messages on their way into a session: each is brought there once, in order, over every lost connection. */
export const useOutbox = (session: string) => {
  const [outbox, dispatch] = useReducer(changeOutbox, session, kept);
  const waitMs = useRef(firstWaitMs);
  const next = nextToSend(outbox);

  useEffect(() => keep(session, outbox), [session, outbox]);

  const nextKey = next?.key;
  const message = useRef(next);
  message.current = next;

  useEffect(() => {
    if (nextKey === undefined || message.current === undefined) return;
    let left = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const { key, prompt, attachments } = message.current;
    const attempt = async (): Promise<void> => {
      try {
        const turnId = await api.send(
          session,
          { prompt, ...(attachments.length > 0 && { attachments }) },
          key,
        );
        waitMs.current = firstWaitMs;
        if (!left) dispatch({ kind: "accepted", key, turnId });
      } catch (error) {
        if (left) return;
        if (isPassing(error)) {
          dispatch({ kind: "retrying", key });
          timer = setTimeout(() => void attempt(), waitMs.current);
          waitMs.current = Math.min(waitMs.current * 2, longestWaitMs);
        } else dispatch({ kind: "refused", key, detail: messageOf(error) });
      }
    };
    void attempt();
    return () => {
      left = true;
      clearTimeout(timer);
    };
    // Only its key counts: a message never changes, but for how it fares.
  }, [session, nextKey]);

  const send = useCallback((prompt: string, attachments: readonly Blob64[]) => {
    dispatch({ kind: "add", key: newKey(), prompt, attachments });
  }, []);
  const again = useCallback((key: string) => dispatch({ kind: "again", key }), []);
  const discard = useCallback((key: string) => dispatch({ kind: "discard", key }), []);
  return { outbox, send, again, discard };
};

/** Is it about the sign-in? */
export const isSignedOut = (error: unknown): boolean => error instanceof ApiError && error.status === 401;
