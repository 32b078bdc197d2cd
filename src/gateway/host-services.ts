import type { Policy } from "../config/config.ts";
import type { Holdings } from "../coordination/holdings.ts";
import type { Fleet, Runtime } from "../fleet/fleet.ts";
import type { Clock } from "../kernel/clock.ts";
import type { ModelRoute } from "../models/grant.ts";
import type { UnitStates } from "../sessions/unit-state.ts";
import type { Store } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Webhooks } from "../webhooks/webhooks.ts";
import type { EventLogs } from "./event-logs.ts";
import type { LivePlaces } from "./live-places.ts";
import type { Presence } from "./presence.ts";
import type { Residence } from "./residence.ts";
import type { Shells } from "./shells.ts";
import type { TokenBudgets } from "./token-budgets.ts";
import type { TurnPlaces } from "./turn-places.ts";
import type { TurnRates } from "./turn-rates.ts";
import type { UseLedger } from "./use-ledger.ts";
import type { Attachment } from "./vocabulary.ts";

/** What a session's host uses of the rooms below and of the gateway. */
export interface HostServices {
  readonly clock: Clock;
  readonly store: Store;
  readonly fleet: Fleet;
  readonly units: UnitStates;
  /** What this node holds of sessions and units. */
  readonly holdings: Holdings;
  readonly places: LivePlaces;
  readonly residence: Residence;
  readonly eventLogs: EventLogs;
  readonly presence: Presence;
  readonly useLedger: UseLedger;
  readonly turnRates: TurnRates;
  readonly turnPlaces: TurnPlaces;
  readonly tokenBudgets: TokenBudgets;
  readonly shells: Shells;
  /** Asks a runtime for what clients of a session may want of it as a whole; before the session is opened there. */
  readonly prepare: (runtime: Runtime, policy: Policy, attachments: readonly Attachment[]) => Promise<void>;
  /** The operator's web services. */
  readonly webhooks: Webhooks;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Routes of GitHub's own model service, for sessions that have a GitHub token. */
  readonly githubRoutes: readonly ModelRoute[];
}
