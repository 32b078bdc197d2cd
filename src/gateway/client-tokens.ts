import { newId } from "../kernel/ids.ts";
import type { Connection } from "./vocabulary.ts";

interface Registration {
  readonly connection: Connection;
  readonly clientId: string;
}

/**
 * GitHub token providers that clients registered. A runtime asks by registration id alone, and clients choose
 * theirs freely, so each gets a random one of ours that leads back to its connection.
 */
export interface ClientTokens {
  register(connection: Connection, clientId: string): string;
  find(registrationId: string): Registration | undefined;
  forget(connection: Connection): void;
}

export const createClientTokens = (): ClientTokens => {
  const registrations = new Map<string, Registration>();
  return {
    register(connection, clientId) {
      const id = newId("token");
      registrations.set(id, { connection, clientId });
      return id;
    },
    find: (registrationId) => registrations.get(registrationId),
    forget(connection) {
      for (const [id, registration] of registrations) {
        if (registration.connection === connection) registrations.delete(id);
      }
    },
  };
};
