/** A line of the demo's room: who says it, and what the scripted model is told to do then (see `script.ts`). */
export interface Line {
  readonly by: "alice" | "bob";
  readonly says: string;
  readonly cue: string;
}

export const sceneTitle = "Summer party";

/** What has been said in the demo's room when one comes in. */
export const scene: readonly Line[] = [
  {
    by: "alice",
    says: "We want a summer party on the roof, for thirty people. What do we have to think of?",
    cue: `[[echo Three things decide most of it:

1. **Weather.** Have a date in reserve, or a tent.
2. **Noise.** From ten o'clock on it must be quiet.
3. **Weight.** Ask how many people the roof may bear.

| | Until | Who |
|---|---|---|
| Ask the landlord | Friday | Alice |
| Send invitations | Monday | Bob |
]]`,
  },
  {
    by: "bob",
    says: "I bring the drinks. How much do we need for thirty people and five hours?",
    cue: `[[echo Half a litre each per hour is plenty:

\`\`\`python
people, hours = 30, 5
litres = people * hours * 0.5
print(f"{litres:.0f} litres")  # 75 litres
\`\`\`

Two thirds of it should be *water*.]]`,
  },
  {
    by: "alice",
    says: "Thank you, both of you!",
    cue: '[[echo Gladly. (I am a script, not an AI. Say "Send the invitations." and I will ask whether I may.)]]',
  },
];

/** What it does when somebody says just this. */
export const cues: ReadonlyMap<string, string> = new Map([
  ...scene.map(({ says, cue }): [string, string] => [says, cue]),
  [
    "Send the invitations.",
    `[[call send_invitations {"to": "thirty people", "subject": "Summer party on the roof"}]] [[delay 30]]`,
  ],
]);
