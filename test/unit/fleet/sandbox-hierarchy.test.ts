import { expect, test } from "vitest";
import { parseHierarchy } from "../../../src/fleet/sandbox/cgroup.ts";

const mount = (point: string, type: string, options: string, root = "/") =>
  `31 23 0:28 ${root} ${point} rw,relatime - ${type} ${type} ${options}`;

test("version 1, controllers in mounts of their own and the node below the root of one", () => {
  const mountinfo = [
    mount("/sys/fs/cgroup", "tmpfs", "rw"),
    mount("/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct"),
    mount("/sys/fs/cgroup/memory", "cgroup", "rw,memory"),
    mount("/sys/fs/cgroup/pids", "cgroup", "rw,pids"),
    mount("/sys/fs/cgroup/unified", "cgroup2", "rw"),
  ].join("\n");
  const cgroup = "8:pids:/\n4:memory:/jobs/a\n2:cpu,cpuacct:/jobs\n0::/";
  expect(parseHierarchy(cgroup, mountinfo)).toEqual({
    version: 1,
    own: {
      cpu: "/sys/fs/cgroup/cpu,cpuacct/jobs",
      memory: "/sys/fs/cgroup/memory/jobs/a",
      pids: "/sys/fs/cgroup/pids",
    },
  });
});

test("version 1 in a container whose mount begins at its own cgroup", () => {
  const mountinfo = ["memory", "pids"]
    .map((name) => mount(`/sys/fs/cgroup/${name}`, "cgroup", `rw,${name}`, "/docker/c1"))
    .join("\n");
  expect(parseHierarchy("4:memory:/docker/c1\n3:pids:/docker/c1/inner", mountinfo)).toEqual({
    version: 1,
    own: { memory: "/sys/fs/cgroup/memory", pids: "/sys/fs/cgroup/pids/inner" },
  });
});

test("version 2 alone, and beside a version 1 without the needed controllers", () => {
  const unified = mount("/sys/fs/cgroup", "cgroup2", "rw,nsdelegate");
  const service = "0::/system.slice/squadron.service";
  const own = "/sys/fs/cgroup/system.slice/squadron.service";
  expect(parseHierarchy(service, unified)).toEqual({ version: 2, own });
  const both = `${unified}\n${mount("/sys/fs/cgroup/systemd", "cgroup", "rw,name=systemd")}`;
  expect(parseHierarchy(`1:name=systemd:/\n${service}`, both)).toEqual({ version: 2, own });
});

test("a system without cgroups", () => {
  expect(parseHierarchy("", mount("/", "ext4", "rw"))).toBeUndefined();
});
