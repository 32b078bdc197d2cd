import { sql } from "kysely";
import type { MessageIdStore } from "../store.ts";
import type { Database } from "./database.ts";

/** Table `message_ids`. */
export const messageIdsIn = (database: Database): MessageIdStore => ({
  async put(sessionId, runtimeId, clientId) {
    await database.query((db) =>
      db
        .insertInto("messageIds")
        .columns(["sessionId", "runtimeId", "clientId"])
        .expression(
          db
            .selectFrom("sessions")
            .select([
              "id",
              sql<string>`${runtimeId}`.as("runtimeId"),
              sql<string>`${clientId}`.as("clientId"),
            ])
            .where("id", "=", sessionId),
        )
        .onConflict((conflict) => conflict.columns(["sessionId", "runtimeId"]).doUpdateSet({ clientId }))
        .execute(),
    );
  },

  async of(sessionId) {
    const rows = await database.query((db) =>
      db
        .selectFrom("messageIds")
        .select(["runtimeId", "clientId"])
        .where("sessionId", "=", sessionId)
        .execute(),
    );
    return new Map(rows.map(({ runtimeId, clientId }) => [runtimeId, clientId]));
  },
});
