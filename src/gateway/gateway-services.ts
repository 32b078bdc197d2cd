import type { Principal } from "../kernel/principal.ts";
import type { AuditTrail } from "./audit-trail.ts";
import type { ClientInference } from "./client-inference.ts";
import type { HostServices } from "./host-services.ts";
import type { Hosts } from "./hosts.ts";
import type { LaunchProviders } from "./launch-providers.ts";
import type { Participants } from "./participants.ts";
import type { RequestOwners } from "./request-owners.ts";
import type { SessionQuota } from "./session-quota.ts";
import type { Connection } from "./vocabulary.ts";

/** What a connection uses to serve its client. */
export interface GatewayServices
  extends Omit<HostServices, "places" | "residence" | "eventLogs" | "presence"> {
  readonly hosts: Hosts;
  readonly requests: RequestOwners;
  readonly inference: ClientInference;
  readonly launchProviders: LaunchProviders;
  readonly audit: AuditTrail;
  readonly participants: Participants;
  readonly quota: SessionQuota;
  /** Version of the runtime that this node starts. */
  readonly runtimeVersion: string;
  /** Model ids that this principal may use. */
  readonly modelsOf: (
    connection: Connection,
  ) => Promise<readonly { readonly id: string; readonly name: string }[]>;
  /** Throws `draining` when the node takes no new session and no message any more. */
  admit(): void;
  /** Every open connection of one user. */
  connectionsOf(principal: Pick<Principal, "tenant" | "user">): readonly Connection[];
}
