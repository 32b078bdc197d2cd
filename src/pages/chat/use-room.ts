import { useCallback, useEffect, useReducer, useRef, useState } from "react";
import { api } from "./api.ts";
import {
  emptyRoom,
  openRequestIds,
  type Room,
  receive,
  type Snapshot,
  type StreamEvent,
  withSnapshot,
} from "./room.ts";
import { followSession, type StreamState } from "./stream.ts";

type Change =
  | { readonly kind: "events"; readonly events: readonly StreamEvent[] }
  | { readonly kind: "snapshot"; readonly snapshot: Snapshot }
  | { readonly kind: "forget" };

const change = (room: Room, what: Change): Room => {
  switch (what.kind) {
    case "events":
      return receive(room, what.events);
    case "snapshot":
      return withSnapshot(room, what.snapshot);
    case "forget":
      return { ...room, facts: [], ids: new Set(), growing: [], lost: false };
  }
};

/** What is told nowhere in the stream when it is opened: turns that run or wait, requests that are open. */
const snapshotOf = async (session: string, openBefore: readonly string[]): Promise<Snapshot> => {
  const [turns, requests] = await Promise.all([
    api.turns(session).catch(() => []),
    api.requests(session).catch(() => undefined),
  ]);
  return { turns, requests: requests ?? [], openBefore: requests === undefined ? [] : openBefore };
};

/** A session's room for as long as it is shown, followed over every cut. */
export const useRoom = (session: string): { readonly room: Room; readonly stream: StreamState } => {
  const [room, dispatch] = useReducer(change, emptyRoom);
  const [stream, setStream] = useState<StreamState>({ kind: "connecting" });
  const follower = useRef<ReturnType<typeof followSession>>(undefined);
  const requests = useRef<readonly string[]>([]);
  requests.current = openRequestIds(room);

  const look = useCallback(async () => {
    dispatch({ kind: "snapshot", snapshot: await snapshotOf(session, requests.current) });
  }, [session]);

  useEffect(() => {
    const following = followSession({
      session,
      onEvents: (events) => dispatch({ kind: "events", events }),
      onState(state) {
        setStream(state);
        if (state.kind === "open") void look();
      },
    });
    follower.current = following;
    return () => following.close();
  }, [session, look]);

  useEffect(() => {
    if (!room.lost) return;
    dispatch({ kind: "forget" });
    follower.current?.restart();
  }, [room.lost]);

  return { room, stream };
};
