import { describe, expect, it } from "vitest";
import {
  emptyRecord,
  recordAfterEvent,
  recordAfterOptions,
  recordAfterProviders,
} from "../../../src/sessions/record.ts";

describe("a change of model in the record", () => {
  const chosen = { ...emptyRecord, parameters: { model: "one", reasoningEffort: "high", clientName: "c" } };

  it("undoes what options said of the model before", () => {
    const record = recordAfterOptions(chosen, { model: "two", verbosity: "low" });
    const { parameters, options } = recordAfterEvent(record, "session.model_change", { newModel: "three" });
    expect(parameters).toEqual({ model: "three", reasoningEffort: "high", clientName: "c" });
    expect(options).toEqual({ verbosity: "low" });
  });

  it.each([
    [{ reasoningEffort: "low", previousReasoningEffort: "high" }, "low"],
    [{ previousReasoningEffort: "high" }, undefined],
    [{}, "high"],
  ])("takes the reasoning effort with it: %j", (change, effort) => {
    const record = recordAfterEvent(chosen, "session.model_change", { newModel: "two", ...change });
    expect(record.parameters).toEqual({
      model: "two",
      clientName: "c",
      ...(effort !== undefined && { reasoningEffort: effort }),
    });
  });
});

it("keeps providers that were added later, beside those of create", () => {
  const record = { ...emptyRecord, parameters: { providers: [{ name: "a" }], model: "a/one" } };
  const added = recordAfterProviders(record, { providers: [{ name: "b" }], models: [{ id: "b/two" }] });
  expect(added.parameters).toEqual({
    model: "a/one",
    providers: [{ name: "a" }, { name: "b" }],
    models: [{ id: "b/two" }],
  });
});
