import { sql } from "kysely";
import type { Clock } from "../../kernel/clock.ts";
import { newUuid } from "../../kernel/ids.ts";
import type { Store } from "../store.ts";
import { auditIn } from "./audit.ts";
import { browserSessionsIn } from "./browser-sessions.ts";
import { type Database, openDatabase } from "./database.ts";
import { keysIn } from "./keys.ts";
import { leasesIn } from "./leases.ts";
import { messagesIn } from "./messages.ts";
import { participantsIn } from "./participants.ts";
import { requestKeysIn } from "./request-keys.ts";
import { sessionsIn } from "./sessions.ts";
import { stateIn } from "./state.ts";
import { tokensIn } from "./tokens.ts";
import { turnsIn } from "./turns.ts";

/** The embedded store in one SQLite file. */
export const openSqliteStore = async (path: string, clock: Clock, holder?: string): Promise<Store> =>
  storeIn(await openDatabase(path), clock, holder);

/** The store in an open database, which it closes. `holder` names the node in what it begins. */
export const storeIn = (database: Database, clock: Clock, holder = newUuid()): Store => ({
  sessions: sessionsIn(database, clock),
  participants: participantsIn(database),
  messages: messagesIn(database),
  state: stateIn(database, clock),
  turns: turnsIn(database, holder),
  requestKeys: requestKeysIn(database),
  tokens: tokensIn(database),
  leases: leasesIn(database),
  keys: keysIn(database, clock),
  browserSessions: browserSessionsIn(database),
  audit: auditIn(database),
  // A real write of a number that nobody reads: on a full or read-only disk everything less succeeds.
  ping: () => database.transaction(async (db) => void (await sql`pragma user_version = 1`.execute(db))),
  close: () => database.close(),
});
