import { dataOf, linesWith, parsedEvent } from "./history-ids.ts";
import { emptyRecord, recordAfterEvent, type SessionRecord } from "./record.ts";

/** Tell the model that the session has from then on. */
const tellingModel = ["session.start", "session.resume", "session.model_change"];

/**
 * What a session is resumed with of which there is nothing but its log: the last model, as a bare runtime does it. Not
 * its working directory, which was another machine's or one that the policy would not allow.
 */
export const recordOfLog = (log: Buffer): SessionRecord => {
  const { unwritten: _nothing, ...begun } = emptyRecord;
  let record: SessionRecord = begun;
  for (const { text } of linesWith(log, '"session.')) {
    const event = parsedEvent(text);
    if (event === undefined || !tellingModel.includes(String(event.type))) continue;
    const data = dataOf(event);
    const { selectedModel: newModel, reasoningEffort, contextTier } = data;
    const changed = event.type === "session.model_change" ? data : { newModel, reasoningEffort, contextTier };
    record = recordAfterEvent(record, "session.model_change", changed, event.agentId);
  }
  return record;
};
