import type { TurnOutcome } from "../sessions/turn.ts";
import type { TurnEnding } from "./turn-vocabulary.ts";
import type { Sender } from "./vocabulary.ts";

interface Arrival {
  readonly sender: Sender;
  /** How a turn of its sender's has ended since. */
  missed?: TurnOutcome;
}

/** Messages that have come and are in no turn yet. Their senders are told of no end: they would take it for the message's. */
export interface Arrivals {
  of(sender: Sender): boolean;
  /** Notes an end that those who have sent such a message are not told. */
  ended(ending: TurnEnding): void;
  /** What `admission` gives. If it refuses the message, `onMissed` is told before that. */
  until<T>(sender: Sender, admission: () => Promise<T>): Promise<T>;
}

export const createArrivals = (onMissed: (sender: Sender, outcome: TurnOutcome) => void): Arrivals => {
  const arrivals = new Set<Arrival>();
  return {
    of: (sender) => [...arrivals].some((one) => one.sender === sender),
    ended({ turn, joined, outcome }) {
      for (const arrival of arrivals)
        if ([turn, ...joined].some(({ sender }) => sender === arrival.sender)) arrival.missed = outcome;
    },
    async until(sender, admission) {
      const arrival: Arrival = { sender };
      arrivals.add(arrival);
      try {
        return await admission();
      } catch (error) {
        arrivals.delete(arrival);
        if (arrival.missed !== undefined) onMissed(sender, arrival.missed);
        throw error;
      } finally {
        arrivals.delete(arrival);
      }
    },
  };
};
