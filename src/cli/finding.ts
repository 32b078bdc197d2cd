/** What one check found, and what to do about it. */
export interface Finding {
  readonly name: string;
  readonly state: "ok" | "warn" | "fail";
  readonly message: string;
  readonly advice?: string;
}
