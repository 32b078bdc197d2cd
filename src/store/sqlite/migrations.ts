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
  "0004-state": {
    up: statements(
      "alter table sessions add column ttl_ms integer",
      "alter table sessions add column epoch integer not null default 0",
      "alter table sessions add column version integer not null default 0",
      "alter table sessions add column size_bytes integer not null default 0",
      "create index sessions_by_use on sessions (last_used_at, tenant, ttl_ms) where ephemeral = 0",
      "create index sessions_by_ttl on sessions (ttl_ms) where ttl_ms is not null and ephemeral = 0",
      "create index sessions_by_owner on sessions (tenant, owner) where ephemeral = 0",
      `create table units (
        key text primary key,
        tenant text not null,
        isolation text not null check (isolation in ('session', 'user', 'tenant', 'shared')),
        size_bytes integer not null
      ) strict, without rowid`,
      "create index units_of_one_session on units (key) where isolation = 'session'",
      `create table files (
        id integer primary key,
        kind text not null check (kind in ('session', 'unit')),
        owner text not null,
        path text not null,
        mode integer not null,
        size integer not null,
        tail integer not null,
        unique (kind, owner, path)
      ) strict`,
      // With rowids: without them a chunk of a few kilobytes would take pages of its own.
      `create table file_chunks (
        id integer primary key,
        file_id integer not null references files (id) on delete cascade,
        at integer not null,
        sha256 blob not null,
        bytes blob not null,
        unique (file_id, at)
      ) strict`,
    ),
  },
  "0005-turns": {
    up: statements(
      // The rowid is the order in which turns were accepted: clocks may stand still or go back.
      `create table turns (
        seq integer primary key,
        id text not null unique,
        session_id text not null references sessions (id) on delete cascade,
        sender text not null,
        state text not null check (state in
          ('accepted', 'begun', 'completed', 'failed', 'aborted', 'interrupted', 'refused')),
        accepted_at integer not null,
        begun_at integer,
        ended_at integer check ((ended_at is null) = (state in ('accepted', 'begun'))),
        runtime_message_id text,
        reason text,
        input_tokens integer not null,
        output_tokens integer not null
      ) strict`,
      "create index turns_by_session on turns (session_id, seq)",
      "create index turns_open on turns (session_id) where ended_at is null",
    ),
  },
  "0006-directories-and-links": {
    up: statements(
      // The scope has the name `kind` already.
      "alter table files add column entry text not null default 'file' check (entry in ('file', 'directory', 'link'))",
      "alter table files add column target text check ((target is not null) = (entry = 'link'))",
    ),
  },
  "0007-leases": {
    up: statements(
      // A node lives by renewing this one row; what it holds and where it waits counts as long as it lives.
      `create table lease_holders (
        id text primary key,
        directory text,
        until integer not null
      ) strict, without rowid`,
      `create table leases (
        name text primary key,
        holder text not null references lease_holders (id) on delete cascade,
        token text not null
      ) strict, without rowid`,
      "create index leases_by_holder on leases (holder)",
      `create table lease_waiters (
        seq integer primary key autoincrement,
        name text not null,
        holder text not null references lease_holders (id) on delete cascade,
        token text not null unique
      ) strict`,
      "create index lease_waiters_by_name on lease_waiters (name, seq)",
      "create index lease_waiters_by_holder on lease_waiters (holder)",
      "alter table turns add column holder text",
      "create table unit_epochs (key text primary key, epoch integer not null) strict, without rowid",
    ),
  },
  "0008-turn-queue": {
    up: statements(
      "alter table turns add column parameters text",
      "alter table turns add column content text",
      "alter table turns add column joined text",
    ),
  },
  "0009-request-keys": {
    up: statements(
      `create table request_keys (
        tenant text not null,
        user text not null,
        key text not null,
        hash text not null,
        session_id text not null references sessions (id) on delete cascade,
        turn_id text references turns (id) on delete cascade,
        at integer not null,
        primary key (tenant, user, key)
      ) strict, without rowid`,
      "create index request_keys_by_time on request_keys (at)",
      "create index request_keys_by_session on request_keys (session_id)",
      "create index request_keys_by_turn on request_keys (turn_id) where turn_id is not null",
    ),
  },
  "0010-token-use": {
    up: statements(
      // Days since 1970, UTC.
      `create table token_use (
        day integer not null,
        tenant text not null,
        user text not null,
        tokens integer not null,
        primary key (day, tenant, user)
      ) strict, without rowid`,
    ),
  },
  "0011-invites": {
    up: statements(
      // One that is used up is deleted.
      `create table invites (
        id text primary key,
        hash text not null unique,
        session_id text not null references sessions (id) on delete cascade,
        role text not null check (role in ('writer', 'reader')),
        uses_left integer not null check (uses_left > 0),
        expires_at integer not null,
        created_by text not null,
        created_at integer not null
      ) strict, without rowid`,
      "create index invites_by_session on invites (session_id, expires_at)",
    ),
  },
  "0012-browser-sessions": {
    up: statements(
      `create table browser_sessions (
        hash text primary key,
        key_id text not null,
        key_proof text not null,
        tenant text not null,
        user text not null,
        created_at integer not null,
        expires_at integer not null
      ) strict, without rowid`,
      "create index browser_sessions_by_user on browser_sessions (tenant, user, created_at)",
      "create index browser_sessions_by_end on browser_sessions (expires_at)",
    ),
  },
  "0013-senders": {
    up: statements(
      // Null: the session's owner, who alone could send before there were participants.
      "alter table message_ids add column sender text",
    ),
  },
  "0014-sender-names": {
    up: statements(
      "alter table sessions add column sender_names integer not null default 0 check (sender_names in (0, 1))",
    ),
  },
  "0015-joined-by": {
    up: statements(
      // Null: not by an invite, or before it was written down.
      "alter table session_names add column invite_hash text",
      `create index session_names_by_invite on session_names (invite_hash, tenant, user)
        where invite_hash is not null`,
    ),
  },
};
