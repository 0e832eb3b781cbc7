// In which order the files are written: what a kill or a power cut leaves rests on it.
import * as fs from "node:fs";
import { relative } from "node:path";
import { expect, test } from "vitest";
import type { DiskWrites } from "../../ipam/disk-writes.ts";
import { type DataDir, createDataDir, key, never, ranges } from "./lease-directory.ts";
import { lengthenJournal } from "./long-journal.ts";

/** The calls, with the files that they name. */
function noted(data: DataDir): { readonly writes: DiskWrites; readonly calls: string[] } {
  const calls: string[] = [];
  const paths = new Map<number, string>();
  const short = (path: string): string => relative(data.path, path);
  const note = (call: string, ...files: string[]): void =>
    void calls.push(`${call} ${files.map(short).join(" ")}`);
  const writes: DiskWrites = {
    mkdirSync: (...args) => fs.mkdirSync(...args),
    writeFileSync: (path, ...rest) => {
      note("write", path);
      fs.writeFileSync(path, ...rest);
    },
    openSync: (...args) => {
      const fd = fs.openSync(...args);
      paths.set(fd, args[0]);
      return fd;
    },
    writeSync: (fd, content, position) => {
      note("append", paths.get(fd) ?? "?");
      return fs.writeSync(fd, content, position);
    },
    ftruncateSync: (fd, length) => {
      note("size", paths.get(fd) ?? "?");
      fs.ftruncateSync(fd, length);
    },
    linkSync: (from, to) => {
      note("link", to);
      fs.linkSync(from, to);
    },
    renameSync: (from, to) => {
      note("rename", from, to);
      fs.renameSync(from, to);
    },
    unlinkSync: (path) => {
      note("unlink", path);
      fs.unlinkSync(path);
    },
    utimesSync: (...args) => fs.utimesSync(...args),
  };
  return { writes, calls };
}

const pod = { namespace: "demo", name: "web-0" };
const request = { key: key("ours"), ranges: ranges("10.1.2.0/29", "fd00::/125"), requestedIps: [] };

test("ADD: the owner's file, what is said of it, its names, the round robin, the pod's name", async () => {
  using data = createDataDir();
  const { writes, calls } = noted(data);
  await data.open({ writes }).reserve({ ...request, pod, isSticky: true }, never);
  expect(calls).toMatchInlineSnapshot(`
    [
      "write mynet/lock",
      "size mynet/.fairlead-lease",
      "append mynet/.fairlead-lease",
      "append .fairlead/leases/mynet",
      "link mynet/10.1.2.2",
      "link mynet/fd00::2",
      "append mynet/last_reserved_ip.0",
      "size mynet/last_reserved_ip.0",
      "append mynet/last_reserved_ip.1",
      "size mynet/last_reserved_ip.1",
      "unlink mynet/.fairlead-lease",
      "append .fairlead/sticky/mynet",
    ]
  `);
});

test("DEL: what is said of it, its names, then the journal anew, whole before it has the name", async () => {
  using data = createDataDir();
  await data.open().reserve(request, never);
  lengthenJournal(data);
  const { writes, calls } = noted(data);
  await data.open({ writes }).release(request.key, never);
  expect(calls).toMatchInlineSnapshot(`
    [
      "append .fairlead/leases/mynet",
      "unlink mynet/10.1.2.2",
      "unlink mynet/fd00::2",
      "write .fairlead/leases/.fairlead-journal",
      "rename .fairlead/leases/.fairlead-journal .fairlead/leases/mynet",
    ]
  `);
});
