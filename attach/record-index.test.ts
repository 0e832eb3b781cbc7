import { mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { attachmentHash } from "../core/names.ts";
import { systemClock } from "../kernel/clock.ts";
import { ip } from "../test/support/builders.ts";
import { type AttachmentRecord, formatRecord } from "./record-file.ts";
import { RecordIndex, versionOf } from "./record-index.ts";

let directory: string;
/** What has passed since the test began, and is told to the index at once. */
let passedMs = 0;
const clock = {
  nowMs: () => systemClock.nowMs() + passedMs,
  monotonicMs: () => systemClock.monotonicMs() + passedMs,
};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "fairlead-index-"));
  passedMs = 0;
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const recordOf = (containerId: string, createdAtMs = 1, ...ports: number[]): AttachmentRecord => ({
  key: { network: "fairlead", containerId, ifName: "eth0" },
  sandbox: { path: "/run/netns/x", device: 4, inode: 1 },
  ipam: { type: "fairlead-ipam" },
  createdAtMs,
  wired: {
    wiring: {
      addresses: [ip("10.244.1.7")],
      routes: [],
      nodeAddresses: [],
      mtu: 1450,
      hostIndex: 1,
      podIndex: 2,
      portMappings: ports.map((hostPort) => ({ protocol: "tcp", hostPort, containerPort: 80 })),
    },
    dns: {},
  },
});
const pathOf = ({ key }: AttachmentRecord): string =>
  join(directory, `${attachmentHash(key)}.json`);

/** As another process does. */
function put(record: AttachmentRecord): void {
  writeFileSync(join(directory, "tmp"), formatRecord(record));
  renameSync(join(directory, "tmp"), pathOf(record));
}
/** The directory tells of nothing. */
const putInPlace = (record: AttachmentRecord): void =>
  writeFileSync(pathOf(record), formatRecord(record));

const createdAt = (index: RecordIndex): readonly number[] =>
  index
    .list()
    .records.map(({ createdAtMs }) => createdAtMs)
    .sort((a, b) => a - b);

test("list() is the same object until a record comes, goes or is another", () => {
  const index = new RecordIndex(directory, clock);
  const [one, two] = [recordOf("c1", 1), recordOf("c2", 2)];
  put(one);
  passedMs = 1_000;
  const first = index.list();
  expect(first.records).toEqual([one]);
  expect(index.list()).toBe(first);
  put(two);
  expect(createdAt(index)).toEqual([1, 2]);
  put(recordOf("c2", 3));
  expect(createdAt(index)).toEqual([1, 3]);
  const before = index.list();
  index.note(pathOf(one), "own", { kind: "record", record: recordOf("c1", 4) });
  expect(index.list()).not.toBe(before);
  rmSync(pathOf(two));
  expect(createdAt(index)).toEqual([1]);
  rmSync(directory, { recursive: true });
  expect(index.list()).toEqual({ records: [], unreadable: [] });
  put(two);
  expect(createdAt(index)).toEqual([2]);
});

test("a change that the directory does not tell is found in ten seconds, one of this moment in a tenth", () => {
  const index = new RecordIndex(directory, clock);
  put(recordOf("c1", 1));
  expect(createdAt(index)).toEqual([1]);
  putInPlace(recordOf("c1", 22));
  passedMs = 101;
  expect(createdAt(index)).toEqual([22]);
  putInPlace(recordOf("c1", 333));
  passedMs = 5_000;
  expect(createdAt(index)).toEqual([22]);
  passedMs = 10_200;
  expect(createdAt(index)).toEqual([333]);
});

test("claims are of the records that there are, and known of this process at once", () => {
  const index = new RecordIndex(directory, clock);
  const claimants = (...ports: number[]): readonly string[] =>
    index.claimantsOf(ports).map(({ key }) => key.containerId);
  const [web, dns] = [recordOf("web", 2, 80, 443), recordOf("dns", 1, 53)];
  put(web);
  put(recordOf("none", 3));
  expect(claimants(443, 80, 53)).toEqual(["web"]);
  put(dns);
  index.note(pathOf(dns), versionOf(statSync(pathOf(dns))), { kind: "record", record: dns });
  expect(claimants(443, 80, 53)).toEqual(["dns", "web"]);
  expect(index.claims().map(({ key }) => key.containerId)).toEqual(["dns", "web"]);
  const moved = recordOf("web", 2, 8080);
  put(moved);
  expect(index.claims().flatMap((claim) => claim.portMappings.map((p) => p.hostPort))).toEqual([
    53, 8080,
  ]);
  expect(claimants(80)).toEqual([]);
  index.forget(pathOf(moved));
  expect(claimants(8080)).toEqual([]);
});
