import { type RawBuilder, sql } from "kysely";
import type { ExpiryQuery } from "../store.ts";

/**
 * A query of the ids of sessions that have lain unused for longer than they may, longest unused first. The shortest time
 * that any may lie bounds what is looked at, and that is in the index `sessions_by_use` alone.
 */
export const expiredIds = ({
  now,
  defaultTtlMs,
  tenantTtlMs,
  tenant,
  limit,
}: ExpiryQuery): RawBuilder<string> => {
  const shortest = Object.values(tenantTtlMs).reduce((least, ms) => Math.min(least, ms), defaultTtlMs);
  return sql`(
    with ttls as materialized (select key as tenant, value as ms from json_each(${JSON.stringify(tenantTtlMs)}))
    select due.id from sessions as due indexed by sessions_by_use left join ttls on ttls.tenant = due.tenant
    where due.ephemeral = 0
      and due.last_used_at < ${now} - min(${shortest}, coalesce(
        (select min(ttl_ms) from sessions where ttl_ms is not null and ephemeral = 0), ${shortest}))
      and due.last_used_at + coalesce(due.ttl_ms, ttls.ms, ${defaultTtlMs}) < ${now}
      and due.tenant = coalesce(${tenant ?? null}, due.tenant)
    order by due.last_used_at limit ${limit}
  )`;
};
