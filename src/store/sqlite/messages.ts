import type { Kysely } from "kysely";
import type { Commit, MessageStore } from "../store.ts";
import type { Database } from "./database.ts";
import type { Tables } from "./tables.ts";

/** Within a transaction; what was known of a message before is replaced. */
export const putMessages = async (
  db: Kysely<Tables>,
  sessionId: string,
  messages: NonNullable<Commit["messages"]>,
): Promise<void> => {
  for (const { runtimeId, clientId, sender } of messages)
    await db
      .insertInto("messageIds")
      .values({ sessionId, runtimeId, clientId, sender })
      .onConflict((conflict) =>
        conflict.columns(["sessionId", "runtimeId"]).doUpdateSet({ clientId, sender }),
      )
      .execute();
};

/** Table `message_ids`. */
export const messagesIn = (database: Database): MessageStore => ({
  async of(sessionId) {
    const rows = await database.query((db) =>
      db
        .selectFrom("messageIds")
        .select(["runtimeId", "clientId", "sender"])
        .where("sessionId", "=", sessionId)
        .execute(),
    );
    return new Map(rows.map(({ runtimeId, ...known }) => [runtimeId, known]));
  },

  async copy(from, to) {
    await database.query((db) =>
      db
        .insertInto("messageIds")
        .columns(["sessionId", "runtimeId", "clientId", "sender"])
        .expression((copied) =>
          copied
            .selectFrom("messageIds")
            .select(({ val }) => [val(to).as("sessionId"), "runtimeId", "clientId", "sender"])
            .where("sessionId", "=", from),
        )
        .execute(),
    );
  },
});
