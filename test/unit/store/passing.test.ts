import { join } from "node:path";
import { sql } from "kysely";
import { expect, it } from "vitest";
import { openDatabase } from "../../../src/store/sqlite/database.ts";
import { tempDir } from "../../support/temp.ts";

const full = 2;
const normal = 1;

it("a passing transaction alone does not wait for the disk, whatever comes of it and whoever asks meanwhile", async () => {
  await using directory = await tempDir("passing");
  const database = await openDatabase(join(directory.path, "squadron.db"));
  const mode = (): Promise<number> =>
    database.query(async (db) => {
      const { rows } = await sql<{ synchronous: number }>`pragma synchronous`.execute(db);
      return rows[0]?.synchronous ?? -1;
    });
  const seen = await Promise.all([
    mode(),
    database.passing(async (db) => {
      const { rows } = await sql<{ synchronous: number }>`pragma synchronous`.execute(db);
      return rows[0]?.synchronous;
    }),
    mode(),
  ]);
  expect(seen).toEqual([full, normal, full]);
  const failing = database.passing(() => Promise.reject(new Error("no")));
  await expect(failing).rejects.toMatchObject({ code: "store_unavailable" });
  expect(await mode()).toBe(full);
  await database.close();
});
