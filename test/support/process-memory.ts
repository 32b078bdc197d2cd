import { open, readdir, readFile, readlink } from "node:fs/promises";

const chunkBytes = 8 * 1024 * 1024;

/**
 * Which of the texts stand in the readable memory of a process. Needs the right to trace it: root, or the same user
 * and a process that allows it. Device mappings are left out.
 */
export const textsInMemory = async (pid: number, texts: readonly string[]): Promise<ReadonlySet<string>> => {
  const found = new Set<string>();
  const overlap = Math.max(...texts.map((text) => text.length));
  const maps = await readFile(`/proc/${pid}/maps`, "latin1");
  const memory = await open(`/proc/${pid}/mem`, "r");
  try {
    for (const line of maps.split("\n")) {
      const [, from, to, name = ""] = /^([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ \S+\s*(.*)$/.exec(line) ?? [];
      if (from === undefined || to === undefined || /^\[v(var|syscall)|^\/dev\//.test(name)) continue;
      const end = Number.parseInt(to, 16);
      for (let at = Number.parseInt(from, 16); at < end; at += chunkBytes) {
        const size = Math.min(chunkBytes + overlap, end - at);
        // A part that has been unmapped meanwhile cannot be read, and holds nothing any more.
        const read = await memory.read(Buffer.alloc(size), 0, size, at).catch(() => undefined);
        if (read === undefined) continue;
        for (const text of texts)
          if (!found.has(text) && read.buffer.includes(text, 0, "latin1")) found.add(text);
      }
    }
  } finally {
    await memory.close();
  }
  return found;
};

/** Lines of the kernel's table of TCP sockets that belong to this process. */
export const tcpSocketsOf = async (pid: number): Promise<readonly string[]> => {
  const descriptors = await readdir(`/proc/${pid}/fd`);
  const links = await Promise.all(descriptors.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => "")));
  const inodes = new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
  const tables = await Promise.all(
    ["tcp", "tcp6", "udp", "udp6"].map((table) =>
      readFile(`/proc/${pid}/net/${table}`, "latin1").catch(() => ""),
    ),
  );
  return tables.flatMap((table) =>
    table.split("\n").filter((line) => inodes.has(line.trim().split(/\s+/)[9] ?? "")),
  );
};
