import { expect, test } from "vitest";
import { createMetrics } from "../../../src/telemetry/metrics.ts";

test("every figure of the contract is in the text, under its name", async () => {
  const metrics = createMetrics();
  metrics.observeSessions(async () => [
    { state: "live", isolation: "user", count: 2 },
    { state: "hibernated", isolation: "user", count: 5 },
  ]);
  metrics.observeRuntimes(() => ({ starting: 1, spare: 2, ready: 3, retiring: 0, stopping: 0 }));
  metrics.turnStarted(0.2);
  metrics.turnEnded("completed", 1.5);
  metrics.firstToken(0.3);
  metrics.runtimeStarted(0.02);
  metrics.runtimeRecycled("memory");
  metrics.sessionResumed(0.04);
  metrics.frameDenied("sessions.list");
  metrics.httpRequest({ method: "GET", route: "/v1/sessions/:id", status: 200, seconds: 0.01 });
  metrics.modelCall("failed");
  metrics.callback("timeout");
  const text = await metrics.text();
  for (const line of [
    'squadron_sessions{state="live",isolation="user"} 2',
    'squadron_sessions{state="hibernated",isolation="user"} 5',
    'squadron_runtimes{state="ready"} 3',
    'squadron_runtimes{state="stopping"} 0',
    'squadron_turns_total{outcome="completed"} 1',
    "squadron_turn_duration_seconds_sum 1.5",
    "squadron_turn_queue_wait_seconds_count 1",
    "squadron_time_to_first_token_seconds_count 1",
    "squadron_runtime_start_seconds_count 1",
    'squadron_runtimes{state="spare"} 2',
    'squadron_runtime_recycles_total{reason="memory"} 1',
    "squadron_session_resume_seconds_count 1",
    'squadron_frames_denied_total{method="sessions.list"} 1',
    'squadron_http_request_duration_seconds_count{method="GET",route="/v1/sessions/:id",status="200"} 1',
    'squadron_model_calls_total{outcome="failed"} 1',
    'squadron_callbacks_total{outcome="timeout"} 1',
  ]) {
    expect(text.split("\n")).toContain(line);
  }
  expect(text).toContain("process_resident_memory_bytes");
  expect(metrics.contentType).toContain("text/plain");
});

test("a state that no session is in any more leaves the text", async () => {
  const metrics = createMetrics();
  let counts = [{ state: "live", isolation: "tenant", count: 1 } as const];
  metrics.observeSessions(async () => counts);
  expect(await metrics.text()).toContain('state="live"');
  counts = [];
  expect(await metrics.text()).not.toContain('state="live"');
});

test("two registries share nothing", async () => {
  const [one, other] = [createMetrics(), createMetrics()];
  one.frameDenied("unknown");
  expect(await other.text()).not.toContain('method="unknown"');
});
