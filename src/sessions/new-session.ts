import { newId, newUuid } from "../kernel/ids.ts";
import type { Isolation } from "../kernel/isolation.ts";
import type { NewSession } from "../store/store.ts";
import { emptyRecord } from "./record.ts";
import { unitOf } from "./unit.ts";

/** The row of a session in which nothing has been said, with ids of its own. `now` is in milliseconds. */
export const newSession = (
  owner: { readonly tenant: string; readonly user: string },
  isolation: Isolation,
  now: number,
): NewSession => {
  const id = newUuid();
  const unit = unitOf(isolation, owner, id);
  return {
    id,
    publicId: newId("ses"),
    tenant: owner.tenant,
    owner: owner.user,
    unit: unit.key,
    isolation: unit.isolation,
    createdAt: now,
    updatedAt: now,
    lastUsedAt: now,
    title: null,
    record: JSON.stringify(emptyRecord),
    createdUpstream: false,
    ephemeral: false,
    visibility: "private",
    senderNames: false,
    inputTokens: 0,
    outputTokens: 0,
    ttlMs: null,
  };
};
