// The rooms of src/ and their floors (ARCHITECTURE.md): an import may only point to the same room or to a lower floor.
const floors = [
  ["kernel"],
  ["wire"],
  ["config", "store", "coordination", "telemetry"],
  ["identity", "policy", "fleet", "models"],
  ["sessions", "webhooks"],
  ["gateway"],
  ["http", "sdk-port", "pages"],
  ["cli"],
];
const roomsFrom = (index) => floors.slice(index).flat();

const forbidden = floors.flatMap((rooms, index) =>
  rooms.map((room) => ({
    name: `${room}-points-down`,
    comment: `${room}/ may import only from lower floors and from itself`,
    severity: "error",
    from: { path: `^src/${room}/` },
    to: {
      path: [
        `^src/(${
          roomsFrom(index)
            .filter((other) => other !== room)
            .join("|") || "(?!)"
        })/`,
        ...(room === "cli" ? [] : ["^src/[^/]+\\.ts$"]),
      ],
    },
  })),
);

export default {
  forbidden: [
    ...forbidden,
    { name: "no-cycles", severity: "error", from: { path: "^src/" }, to: { circular: true } },
    { name: "no-test-in-src", severity: "error", from: { path: "^src/" }, to: { path: "^(test|bench)/" } },
  ],
  options: {
    // Its parser does not know them; biome.json says what pages may import.
    exclude: { path: "\\.tsx$" },
    doNotFollow: { path: "node_modules" },
    parser: "swc",
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { extensions: [".ts", ".js", ".json"] },
  },
};
