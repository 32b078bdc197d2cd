import { SquadronError } from "../kernel/errors.ts";
import type { PolicySwitch } from "../wire/method-table.ts";

/** Which parameter of which method is being judged; the parameter may be a path, `attachments[0].path`. */
export interface Place {
  readonly method: string;
  readonly parameter: string;
  /** The switch of the policy that could allow it. */
  readonly opens: PolicySwitch | null;
}

export const inside = (place: Place, step: string | number): Place => ({
  ...place,
  parameter: typeof step === "number" ? `${place.parameter}[${step}]` : `${place.parameter}.${step}`,
});

/** `parameter_denied`, saying why and, if a switch of the policy decides, which. `why` is one sentence. */
export const refused = (place: Place, why: string): SquadronError => {
  const remedy =
    place.opens === null
      ? "Leave it out."
      : place.opens === "all"
        ? "Leave it out, or have a policy with allow: all."
        : `Leave it out, or have policy.allow.${place.opens} allow it.`;
  return new SquadronError(
    "parameter_denied",
    `${place.method} may not have ${place.parameter}: ${why} ${remedy}`,
    {
      details: {
        method: place.method,
        parameter: place.parameter,
        ...(place.opens && { policy: `allow.${place.opens}` }),
      },
    },
  );
};

/** `invalid_request` for a value of a wrong type. */
export const malformed = (place: Place, expected: string): SquadronError =>
  new SquadronError("invalid_request", `${place.parameter} of ${place.method} must be ${expected}.`, {
    details: { method: place.method, parameter: place.parameter },
  });
