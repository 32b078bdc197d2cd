import type { FileChange, StoredEntry } from "../store/store.ts";
import { logPath } from "./history-ids.ts";
import { lastEventOf, type StoredEvents, startOfHistory, storedEventsOf } from "./stored-events.ts";

/** Who must know where a session's stored history ends. Before its first event that is `startOfHistory`. */
export interface HistoryWatch {
  /** At a wake: the stored history ends with this event. */
  restored(last: string): void;
  /** The session has left its runtime, which tells no more of it: what is not stored has not happened. */
  left(): void;
  /** Something is being stored; the result is to be called when it is or has failed. */
  storing(): () => void;
  /**
   * The stored history has grown by `tail` and ends with this event, which has been told, is told next, or is told by no
   * runtime at all.
   */
  stored(last: string, tail: StoredEvents): void;
  /** The history was written anew, such as without its end. It ends with this event now, and has those that `has` knows. */
  rewritten(last: string, has: (id: string) => boolean): void;
}

/** What is no file has no events. */
const bytesOf = (entry: FileChange): Buffer =>
  "bytes" in entry
    ? Buffer.from(entry.bytes.buffer, entry.bytes.byteOffset, entry.bytes.byteLength)
    : Buffer.alloc(0);

/** Tells the end of a log that was just taken from the store; is there anything in it? */
export const tellRestored = (watch: HistoryWatch, files: readonly StoredEntry[]): boolean => {
  const log = files.find(({ path }) => path === logPath);
  const last = log && lastEventOf(bytesOf(log));
  watch.restored(last ?? startOfHistory);
  return last !== undefined;
};

/** Tells of what was just stored, where there was a history before or not; is there one now? */
export const tellStored = (
  watch: HistoryWatch,
  files: readonly FileChange[],
  hadHistory: boolean,
): boolean => {
  const log = files.find(({ path }) => path === logPath);
  if (log === undefined) return hadHistory;
  const bytes = bytesOf(log);
  const last = lastEventOf(bytes);
  if (log.kind === "append" || !hadHistory) {
    if (last !== undefined) watch.stored(last, storedEventsOf(bytes));
    return hadHistory || last !== undefined;
  }
  const events = storedEventsOf(bytes);
  watch.rewritten(last ?? startOfHistory, (id) => events.after(id) !== undefined);
  return last !== undefined;
};
