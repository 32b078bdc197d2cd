import { inspect } from "node:util";

const masked = "[secret]";

/**
 * A value that prints, serialises and inspects as `[secret]`. Only `reveal()` gives it out,
 * so that a leak is a visible call and not an accident of logging.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return masked;
  }

  toJSON(): string {
    return masked;
  }

  [inspect.custom](): string {
    return masked;
  }
}
