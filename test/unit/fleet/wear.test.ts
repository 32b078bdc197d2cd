import { expect, test } from "vitest";
import type { Life } from "../../../src/fleet/life.ts";
import { type Member, newMember } from "../../../src/fleet/member.ts";
import type { Runtime, RuntimeLife } from "../../../src/fleet/runtime.ts";
import { createWear } from "../../../src/fleet/wear.ts";
import { createLog } from "../../../src/telemetry/log.ts";

const mebibyte = 1024 ** 2;

const member = (name: string | undefined, mebibytes: number): Member => {
  const life: Life = { state: name === undefined ? "spare" : "ready" };
  const unit = name === undefined ? undefined : ({ isolation: "user", key: name } as const);
  const runtime = unit && ({ id: name, unit } as Partial<Runtime> as Runtime);
  const fake = newMember(
    { id: name ?? "spare", life, unit, runtime } as Partial<RuntimeLife> as RuntimeLife,
    0,
  );
  fake.figures = { memoryBytes: mebibytes * mebibyte };
  return fake;
};

const wearOf = (members: Member[], budget: number | undefined, retiringUnits: string[] = []) => {
  const told: string[] = [];
  const ended: Member[] = [];
  const wear = createWear({
    config: {
      recycle: { turns: 10, memoryBytes: 1024 * mebibyte, ageMs: 1_000 },
      ...(budget !== undefined && { memoryBytes: budget * mebibyte }),
    },
    members: () => members,
    hasRetiring: (unitKey) => retiringUnits.includes(unitKey),
    onWorn: ({ id }, reason) => told.push(`${id} ${reason}`),
    endSpare: (spare) => ended.push(spare),
    log: createLog({ level: "silent" }),
  });
  return { wear, told, ended };
};

test("within its limits and the budget nothing is told", () => {
  const one = member("a", 100);
  const { wear, told } = wearOf([one, member("b", 100)], 200);
  wear.judge(one, 999);
  expect(told).toEqual([]);
});

test("a reason once found stays, and is told again each time", () => {
  const one = member("a", 100);
  const { wear, told } = wearOf([one], undefined);
  wear.judge(one, 1_000);
  wear.judge(one, 0);
  expect(told).toEqual(["a age", "a age"]);
});

test("not while the unit still has a retiring one", () => {
  const one = member("a", 100);
  const { wear, told } = wearOf([one], undefined, ["a"]);
  wear.judge(one, 1_000);
  expect(told).toEqual([]);
});

test("a spare that is worn out is simply ended", () => {
  const spare = member(undefined, 10);
  const { wear, told, ended } = wearOf([spare], undefined);
  wear.judge(spare, 1_000);
  expect(told).toEqual([]);
  expect(ended).toEqual([spare]);
});

test("over the budget the fattest is told of, then no more while that suffices", () => {
  const members = [member("a", 100), member("b", 300), member("c", 200)] as const;
  const { wear, told } = wearOf([...members], 350);
  wear.judge(members[0], 0);
  wear.judge(members[2], 0);
  expect(told).toEqual(["b memory_budget"]);
  members[0].figures = { memoryBytes: 170 * mebibyte };
  wear.judge(members[0], 0);
  expect(told).toEqual(["b memory_budget", "c memory_budget"]);
});

test("spares have what the units' runtimes leave of the budget, those included that are leaving", () => {
  const one = member("a", 100);
  const members = [one, member(undefined, 10), member(undefined, 10)];
  expect(wearOf(members, undefined).wear.roomForSpares).toBe(Number.POSITIVE_INFINITY);
  expect(wearOf(members, 100 + 2 * 16).wear.roomForSpares).toBe(2);
  one.worn = "age";
  expect(wearOf(members, 100 + 2 * 16 - 1).wear.roomForSpares).toBe(1);
  expect(wearOf(members, 50).wear.roomForSpares).toBe(0);
});

test("who hears it and fails does not end the probing", () => {
  const one = member("a", 100);
  const { wear, told } = wearOf([one], undefined);
  told.push = () => {
    throw new Error("not now");
  };
  expect(() => wear.judge(one, 1_000)).not.toThrow();
});
