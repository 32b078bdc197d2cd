import type { Holdings } from "../coordination/holdings.ts";
import type { Fleet, Runtime } from "../fleet/fleet.ts";
import type { Clock } from "../kernel/clock.ts";
import type { Unit } from "../kernel/isolation.ts";
import { keepsFiles } from "../sessions/unit.ts";
import type { LivePlaces, Resident } from "./live-places.ts";
import type { Lodger, Residence } from "./residence.ts";

/** Who has something to do in a unit's runtime for none of its sessions. */
export interface Guests {
  /**
   * Works in the unit's runtime, started if there is none. It stays meanwhile, and ends afterwards as when a session has
   * left it. Rejects as `Holdings.take`, `LivePlaces.take` and `Fleet.runtimeFor` do.
   */
  visit<T>(visitor: Visitor, work: (runtime: Runtime) => Promise<T>): Promise<T>;
  /** Those that are in this runtime now. */
  in(runtime: Runtime): readonly Lodger[];
}

export interface Visitor {
  readonly unit: Unit;
  readonly tenant: string;
  /** How long the runtime stays when nobody is in it any more. */
  readonly idleMs: number;
}

const stays = { evictable: false, abandon: async () => false } as const;

export const createGuests = (options: {
  readonly clock: Clock;
  readonly fleet: Fleet;
  readonly holdings: Holdings;
  readonly places: LivePlaces;
  readonly residence: Residence;
}): Guests => {
  const { clock, fleet, holdings, places, residence } = options;
  const present = new Set<Lodger>();

  /** Only a runtime that must still be started needs room, and only until it is there. */
  const runtimeFor = async ({ unit, tenant }: Visitor): Promise<Runtime> => {
    await residence.mayBegin(unit.key);
    if (fleet.boundUnits().includes(unit.key)) return fleet.runtimeFor(unit);
    const resident: Resident = {
      tenant,
      tenantLimit: undefined,
      unitKey: unit.key,
      lastUsedAt: clock.monotonic(),
      evictable: false,
      evict: async () => undefined,
    };
    const holding = keepsFiles(unit) ? await holdings.take(unit.key) : undefined;
    try {
      await places.take(resident);
      return await fleet.runtimeFor(unit);
    } finally {
      places.leave(resident);
      // The runtime has it too.
      holding?.release();
    }
  };

  return {
    async visit(visitor, work) {
      const runtime = await runtimeFor(visitor);
      const guest: Lodger = { ...stays, runtime, lastUsedAt: clock.monotonic() };
      present.add(guest);
      try {
        return await work(runtime);
      } finally {
        present.delete(guest);
        if (!runtime.gone) residence.left(runtime, visitor.idleMs);
        if (!runtime.gone) residence.settled(runtime);
        places.changed();
      }
    },
    in: (runtime) => [...present].filter((guest) => guest.runtime === runtime),
  };
};
