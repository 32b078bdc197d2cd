import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SquadronError } from "../../../src/kernel/errors.ts";
import { judgeCall } from "../../../src/policy/judge.ts";
import { methodEntries } from "../../../src/wire/method-table.ts";
import { policyWith, refusal } from "./policy.ts";

const plain = policyWith();
const judge = (method: string, params?: unknown, policy = plain) => judgeCall(policy, method, params);

describe("methods", () => {
  test("an allowed call keeps its parameters", () => {
    const params = { sessionId: "s", prompt: "hi", mode: "enqueue" };
    expect(judge("session.send", params)).toMatchObject({ verdict: "allow", params });
    expect(judge("session.create", { sessionId: "s" }).verdict).toBe("local");
    expect(judge("ping").params).toEqual({});
  });

  test.each([
    "bogus",
    "",
    "__proto__",
    "constructor",
    "toString",
    "session.event",
    "hooks.invoke",
    "$/cancelRequest",
  ])("%s is unknown", (method) =>
    expect(refusal(() => judge(method, {}))).toMatchObject({ code: "method_unknown", details: { method } }),
  );

  test("every refused method says why", () => {
    const denied = methodEntries().filter(
      ({ verdict, scope }) => verdict === "deny" && /global|session/.test(scope),
    );
    expect(denied.length).toBeGreaterThan(100);
    for (const { method, reason } of denied) {
      const error = refusal(() => judge(method, { sessionId: "s" }));
      expect(error).toMatchObject({ code: "method_denied", details: { method } });
      expect(error.message).toContain(reason);
    }
  });

  test.each([
    ...[
      "session.shell.exec",
      "session.shell.executeUserRequested",
      "runtime.shutdown",
      "sessions.readPersistedEvents",
    ],
    ...[
      "sessions.getEventFilePath",
      "sessions.pruneOld",
      "user.settings.set",
      "mcp.config.add",
      "plugins.install",
    ],
    ...["account.login", "sessionFs.setProvider", "plugins.builtin.set", "sessions.open"],
    ...["session.provider.getEndpoint", "session.debug.collectLogs", "session.permissions.setApproveAll"],
    ...["session.sendMessages", "session.queue.insertAt", "session.extensions.reload", "agentRegistry.spawn"],
  ])("%s, seen to be dangerous, is refused even to the widest policy", (method) => {
    const widest = policyWith({
      provider: true,
      tools: ["*"],
      mcp: { http: true, stdio: true },
      workingDirectories: ["/"],
    });
    expect(refusal(() => judge(method, { sessionId: "s" }, widest)).code).toBe("method_denied");
  });
});

describe("parameters", () => {
  test.each([[[]], ["text"], [7], [true]])("%j is no parameter object", (params) => {
    expect(refusal(() => judge("ping", params)).code).toBe("invalid_request");
  });

  test("absent and null parameters are none", () => {
    expect(judge("status.get", null).params).toEqual({});
    expect(judge("status.get", undefined).params).toEqual({});
  });

  test("an unknown one is refused by name", () => {
    const error = refusal(() => judge("session.send", { sessionId: "s", prompt: "x", sudo: true }));
    expect(error).toMatchObject({
      code: "parameter_denied",
      details: { method: "session.send", parameter: "sudo" },
    });
  });

  test("keys that reach for the prototype are refused at any depth", () => {
    for (const text of ['{"__proto__":{"a":1}}', '{"sessionId":"s","arguments":[{"x":{"__proto__":1}}]}']) {
      expect(refusal(() => judge("session.tools.execute", JSON.parse(text))).code).toBe("invalid_request");
    }
    for (const name of ["constructor", "toString", "hasOwnProperty"]) {
      expect(refusal(() => judge("session.send", { [name]: 1 })).code).toBe("parameter_denied");
    }
  });

  test("what is nested too deep is refused, not crashed upon", () => {
    let value: unknown = 1;
    for (let i = 0; i < 5_000; i++) value = [value];
    expect(refusal(() => judge("session.tools.execute", { arguments: value })).code).toBe("invalid_request");
  });

  test("refused ones that are empty count as absent", () => {
    for (const entry of methodEntries()) {
      if (entry.verdict === "deny" || entry.scope === "callback" || entry.scope === "notification") continue;
      for (const [name, verdict] of Object.entries(entry.params)) {
        if (verdict.kind !== "deny") continue;
        for (const empty of [null, undefined, false, [], {}]) {
          expect(judge(entry.method, { [name]: empty }).params).toEqual({});
        }
        const error = refusal(() => judge(entry.method, { [name]: "x" }));
        expect(error).toMatchObject({
          code: "parameter_denied",
          details: { method: entry.method, parameter: name },
        });
        expect(error.message).toContain(verdict.reason);
      }
    }
  });

  test("what the node decides is left out", () => {
    const { params } = judge("session.create", {
      sessionId: "s",
      envValueMode: "indirect",
      enableSkills: true,
    });
    expect(params).toEqual({ sessionId: "s" });
    expect(judge("session.send", { sessionId: "s", prompt: "x", billable: false }).params).not.toHaveProperty(
      "billable",
    );
  });

  test("the parameters are a copy; the client's stay as they are", () => {
    const params = Object.freeze({ sessionId: "s", prompt: "x", billable: false });
    expect(judge("session.send", params).params).not.toBe(params);
    expect(params.billable).toBe(false);
  });

  test("no parameters of any shape do anything but pass or be refused", () => {
    const methods = methodEntries().map(({ method }) => method);
    fc.assert(
      fc.property(
        fc.constantFrom(...methods),
        fc.integer({ min: 0, max: 90 }),
        fc.jsonValue(),
        (method, at, value) => {
          const names = Object.keys(methodEntries().find((entry) => entry.method === method)?.params ?? {});
          try {
            judge(method, { [names[at % Math.max(1, names.length)] ?? "x"]: value });
          } catch (error) {
            expect(error).toBeInstanceOf(SquadronError);
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });
});
