import { type Kysely, sql } from "kysely";
import type { Migration } from "kysely/migration";

const statements =
  (...texts: readonly string[]) =>
  async (db: Kysely<unknown>): Promise<void> => {
    for (const text of texts) await sql.raw(text).execute(db);
  };

/** In the order of their names. One that has been released is never changed again. */
export const migrations: Readonly<Record<string, Migration>> = {
  "0001-sessions": {
    up: statements(
      `create table sessions (
        id text primary key,
        public_id text not null unique,
        tenant text not null,
        owner text not null,
        unit text not null,
        isolation text not null check (isolation in ('session', 'user', 'tenant', 'shared')),
        created_at integer not null,
        updated_at integer not null,
        last_used_at integer not null,
        title text,
        record text not null,
        created_upstream integer not null check (created_upstream in (0, 1)),
        ephemeral integer not null check (ephemeral in (0, 1)),
        visibility text not null check (visibility in ('private', 'shared')),
        input_tokens integer not null,
        output_tokens integer not null
      ) strict, without rowid`,
      "create index sessions_by_unit on sessions (unit)",
      "create index sessions_by_age on sessions (created_at, id)",
      "create index sessions_by_tenant on sessions (tenant, isolation)",
      "create index sessions_ephemeral on sessions (id) where ephemeral = 1",
      // Deferred: the name, which may be taken, is written before the session.
      `create table session_names (
        tenant text not null,
        user text not null,
        name text not null,
        session_id text not null references sessions (id) on delete cascade deferrable initially deferred,
        role text not null check (role in ('owner', 'writer', 'reader')),
        primary key (tenant, user, name),
        unique (session_id, tenant, user)
      ) strict, without rowid`,
      `create table deleted_sessions (
        id integer primary key autoincrement,
        public_id text not null,
        tenant text not null,
        user text not null,
        unique (public_id, tenant, user)
      ) strict`,
      `create table message_ids (
        session_id text not null references sessions (id) on delete cascade,
        runtime_id text not null,
        client_id text not null,
        primary key (session_id, runtime_id)
      ) strict, without rowid`,
    ),
  },
  "0002-keys": {
    up: statements(
      `create table keys (
        id text primary key,
        hash text not null unique,
        tenant text not null,
        user text not null,
        roles text not null,
        label text not null,
        created_at integer not null,
        last_used_at integer,
        revoked_at integer
      ) strict, without rowid`,
    ),
  },
  "0003-audit": {
    up: statements(
      `create table audit (
        id integer primary key autoincrement,
        at integer not null,
        tenant text not null,
        user text not null,
        action text not null,
        target text not null,
        outcome text not null,
        detail text
      ) strict`,
      "create index audit_by_tenant on audit (tenant, id)",
    ),
  },
};
