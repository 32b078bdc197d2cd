import type { SentFile } from "./facts.ts";
import { hasEnded, type Room } from "./room.ts";

/** A file with its content, as a message brings it along. */
export interface Blob64 {
  readonly type: "blob";
  readonly data: string;
  readonly mimeType: string;
  readonly displayName: string;
}

/** A message of one's own that is on its way. Its key makes sure that it is sent once, however often it is tried. */
export interface Outgoing {
  readonly key: string;
  readonly prompt: string;
  readonly attachments: readonly Blob64[];
  readonly state:
    | { readonly kind: "sending" }
    /** It could not be brought there; it is tried again. */
    | { readonly kind: "retrying" }
    /** It has its turn now. */
    | { readonly kind: "accepted"; readonly turnId: string }
    | { readonly kind: "refused"; readonly detail: string };
}

export type OutboxChange =
  | {
      readonly kind: "add";
      readonly key: string;
      readonly prompt: string;
      readonly attachments: readonly Blob64[];
    }
  | { readonly kind: "retrying"; readonly key: string }
  | { readonly kind: "again"; readonly key: string }
  | { readonly kind: "accepted"; readonly key: string; readonly turnId: string }
  | { readonly kind: "refused"; readonly key: string; readonly detail: string }
  | { readonly kind: "discard"; readonly key: string }
  | { readonly kind: "restore"; readonly outgoing: readonly Outgoing[] };

/** What was accepted or discarded stays so: what comes late changes nothing. */
export const changeOutbox = (outbox: readonly Outgoing[], change: OutboxChange): readonly Outgoing[] => {
  if (change.kind === "restore") return change.outgoing;
  if (change.kind === "add") {
    const { key, prompt, attachments } = change;
    return [...outbox, { key, prompt, attachments, state: { kind: "sending" } }];
  }
  if (change.kind === "discard") return outbox.filter(({ key }) => key !== change.key);
  const stateOf = (): Outgoing["state"] => {
    switch (change.kind) {
      case "retrying":
        return { kind: "retrying" };
      case "again":
        return { kind: "sending" };
      case "accepted":
        return { kind: "accepted", turnId: change.turnId };
      case "refused":
        return { kind: "refused", detail: change.detail };
    }
  };
  return outbox.map((one) =>
    one.key === change.key && one.state.kind !== "accepted" ? { ...one, state: stateOf() } : one,
  );
};

/** The first message that is still to be brought there: one after the other, so that they keep their order. */
export const nextToSend = (outbox: readonly Outgoing[]): Outgoing | undefined =>
  outbox.find(({ state }) => state.kind === "sending" || state.kind === "retrying");

/** A message that is not in the history. `lost`: its turn has ended, and nothing of it was stored. */
export interface Pending extends Outgoing {
  readonly lost: boolean;
}

/** What is shown below the history. What was taken back is not; what was lost stays, so that it can be sent again. */
export const pendingOf = (
  outbox: readonly Outgoing[],
  { facts, turns }: Pick<Room, "facts" | "turns">,
): readonly Pending[] => {
  const said = new Set(facts.flatMap((fact) => (fact.kind === "user" ? [fact.turnId] : [])));
  return outbox.flatMap((one): readonly Pending[] => {
    if (one.state.kind !== "accepted") return [{ ...one, lost: false }];
    if (said.has(one.state.turnId)) return [];
    const turn = turns.get(one.state.turnId);
    if (turn === undefined || !hasEnded(turn)) return [{ ...one, lost: false }];
    return turn.state === "interrupted" || turn.state === "failed" ? [{ ...one, lost: true }] : [];
  });
};

export const filesOf = ({ attachments }: Pick<Outgoing, "attachments">): readonly SentFile[] =>
  attachments.map(({ displayName, mimeType }) => ({ name: displayName, type: mimeType }));
