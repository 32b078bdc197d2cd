import { it } from "vitest";
import { expectKept } from "./expect-kept.ts";

it("a node that was stopped for longer than its leases last changes nothing of what others have taken over, and tells its clients", {
  timeout: 240_000,
}, async () => {
  await expectKept("zombie", { rounds: 3, clients: 8 });
});
