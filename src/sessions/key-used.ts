/** A request's key has been used by an earlier one, whose effect counts; this one has none. */
export class KeyUsed extends Error {
  constructor() {
    super("The key of this request has been used by an earlier one.");
    this.name = "KeyUsed";
  }
}
