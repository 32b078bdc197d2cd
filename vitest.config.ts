import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: "test/build-pages.ts",
    environment: "node",
    pool: "forks",
    // Tests wait more than they compute: two at a time on two cores, which would be one by default.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ["default"],
  },
});
