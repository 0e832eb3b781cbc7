import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CniCode } from "../core/cni/error.ts";
import { silentLog } from "../core/log.ts";
import { attachmentHash } from "../core/names.ts";
import { systemClock } from "../kernel/clock.ts";
import { forever } from "../test/attach/fixture.ts";
import { cidr, ip } from "../test/support/builders.ts";
import { type AttachmentRecord, type RecordStore, openRecords } from "./records.ts";

let directory: string;
let records: RecordStore;
const warnings: string[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "fairlead-records-"));
  warnings.length = 0;
  records = open();
  expectEmpty();
});
afterEach(() => rmSync(directory, { recursive: true }));

/** Each knows what it has written itself: what is on disk only another one tells. */
const open = (): RecordStore =>
  openRecords({
    directory: join(directory, "attachments"),
    clock: systemClock,
    log: { ...silentLog, warn: (fields) => void warnings.push(String(fields["problem"])) },
    lockDeadlineMs: 20,
  });

const expectEmpty = (): void => expect(records.list()).toEqual({ records: [], unreadable: [] });

const key = { network: "fairlead", containerId: "c1", ifName: "eth0" };
const record: AttachmentRecord = {
  key,
  sandbox: { path: "/run/netns/c1", device: 4, inode: 4_026_532_000 },
  pod: { namespace: "shop", name: "cart-0" },
  ipam: { type: "fairlead-ipam" },
  createdAtMs: 1_700_000_000_000,
  wired: {
    wiring: {
      addresses: [ip("10.244.1.7"), ip("fd00::7")],
      routes: [{ destination: cidr("10.0.0.0/8"), metric: 5, table: 0 }],
      nodeAddresses: [ip("192.0.2.1")],
      mtu: 1450,
      hostIndex: 1_048_577,
      podIndex: 1_048_578,
    },
    dns: { nameservers: ["10.96.0.10"], search: ["cluster.local"], options: [] },
  },
};
const fileOf = (suffix: string): string =>
  join(directory, "attachments", `${attachmentHash(key)}.${suffix}`);

describe("hostPortClaims()", () => {
  const claiming = (
    containerId: string,
    hostPort: number,
    createdAtMs: number,
  ): AttachmentRecord => {
    const port = { protocol: "udp", hostIp: ip("192.0.2.1"), hostPort, containerPort: 53 } as const;
    const { dns, wiring } = record.wired!;
    return {
      ...record,
      key: { ...key, containerId },
      createdAtMs,
      wired: { dns, wiring: { ...wiring, portMappings: [port] } },
    };
  };
  const ports = (store: RecordStore): number[] =>
    store.hostPortClaims().flatMap(({ portMappings }) => portMappings.map((port) => port.hostPort));

  test("are those of the records, the first that began first, whoever wrote them", () => {
    expect(ports(records)).toEqual([]);
    const other = openRecords({
      directory: join(directory, "attachments"),
      clock: systemClock,
      log: silentLog,
    });
    records.write(record);
    records.write(claiming("c2", 53, 20));
    other.write(claiming("c3", 54, 10));
    expect([ports(records), ports(other)]).toEqual([
      [54, 53],
      [54, 53],
    ]);
    other.write(claiming("c2", 55, 20));
    expect(ports(records)).toEqual([54, 55]);
    other.remove({ ...key, containerId: "c3" });
    expect(ports(records)).toEqual([55]);
    expect(records.read({ ...key, containerId: "c2" })).toEqual(claiming("c2", 55, 20));
  });
});

describe("a record", () => {
  test("is read as it was written, by root only", () => {
    records.write(record);
    for (const reader of [records, open()]) {
      expect(reader.read(key)).toEqual(record);
      expect(reader.list()).toEqual({ records: [record], unreadable: [] });
    }
    expect(statSync(fileOf("json")).mode & 0o777).toBe(0o600);
    expect(statSync(join(directory, "attachments")).mode & 0o777).toBe(0o700);
  });

  test("may be written again after the directory was removed", async () => {
    rmSync(join(directory, "attachments"), { recursive: true, force: true });
    using _lock = await records.lock(key, forever);
    records.write(record);
    expect(records.read(key)).toEqual(record);
  });

  test("may still be without its wiring", () => {
    const { wired: _, ...begun } = record;
    records.write(begun);
    for (const reader of [records, open()]) expect(reader.read(key)).toEqual(begun);
  });

  test("is what was written last, by whomever", () => {
    const other = open();
    const later = { ...record, createdAtMs: record.createdAtMs + 1 };
    for (const [writer, reader] of [
      [records, other],
      [other, records],
    ] as const) {
      writer.write(record);
      expect(reader.read(key)).toEqual(record);
      writer.write(later);
      expect(reader.read(key)).toEqual(later);
      expect(reader.list().records).toEqual([later]);
    }
    other.remove(key);
    expect(records.read(key)).toBeUndefined();
    records.write(record);
    writeFileSync(fileOf("json"), "{}");
    expect(records.read(key)).toBeUndefined();
  });

  test("leaves nothing when removed, and may be removed twice", () => {
    records.write(record);
    records.remove(key);
    records.remove(key);
    expect(readdirSync(join(directory, "attachments"))).toEqual([]);
    expect(records.read(key)).toBeUndefined();
  });

  test.each([
    ["", "not JSON (0 characters)"],
    ['{"version":1,"ke', "not JSON (16 characters)"],
    ["{}", "version: "],
    [JSON.stringify({ version: 2, ...record }), "version: "],
    [JSON.stringify({ version: 1, ...record, sandbox: {} }), "sandbox.path: "],
    [
      JSON.stringify({ version: 1, ...record, key: { ...key, ifName: "eth1" } }),
      "the file's name is not its attachment's",
    ],
  ])("that is torn or foreign counts as absent: %j", (text, problem) => {
    writeFileSync(fileOf("json"), text);
    expect(records.read(key)).toBeUndefined();
    expect(warnings).toEqual([expect.stringContaining(problem)]);
    expect(records.list()).toEqual({
      records: [],
      unreadable: [
        {
          path: fileOf("json"),
          problem: expect.stringContaining(problem),
          interfaceName: `fl${attachmentHash(key)}`,
        },
      ],
    });
  });
});

describe("the lock of a record", () => {
  test("excludes a second request, which is told to try again", async () => {
    using held = await records.lock(key, forever);
    expect(held.path).toBe(fileOf("lock"));
    expect(records.tryLock(key)).toBeUndefined();
    await expect(records.lock(key, forever)).rejects.toMatchObject({
      code: CniCode.tryAgainLater,
      message: expect.stringContaining('container "c1" interface "eth0"'),
    });
  });

  test("leaves other attachments alone, and leaves no file", async () => {
    {
      using held = await records.lock(key, forever);
      using other = records.tryLock({ ...key, ifName: "eth1" });
      expect([held, other]).not.toContain(undefined);
    }
    expect(readdirSync(join(directory, "attachments"))).toEqual([]);
  });

  test("admits one at a time, however many wait", async () => {
    let inside = 0;
    let most = 0;
    const waiting = openRecords({
      directory: join(directory, "attachments"),
      clock: systemClock,
      log: silentLog,
    });
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        using _lock = await waiting.lock(key, forever);
        most = Math.max(most, ++inside);
        await new Promise((resolve) => setImmediate(resolve));
        inside--;
      }),
    );
    expect(most).toBe(1);
  });
});

test("podAddresses() has those of one network, and follows changes of the files", () => {
  records.write(record);
  records.write({ ...record, key: { ...key, network: "other" } });
  const addresses = record.wired!.wiring.addresses;
  expect(records.podAddresses("fairlead")).toEqual(addresses);
  expect(records.podAddresses("fairlead")).toEqual(addresses);
  records.remove(key);
  expect(records.podAddresses("fairlead")).toEqual([]);
});

test("removeStrays() removes what killed requests left beside records, and nothing else", () => {
  records.write(record);
  for (const suffix of ["lock", "tmp"]) writeFileSync(fileOf(suffix), "");
  writeFileSync(join(directory, "attachments", "README.tmp"), "");
  records.removeStrays();
  expect(readdirSync(join(directory, "attachments")).sort()).toEqual(
    [`${attachmentHash(key)}.json`, "README.tmp"].sort(),
  );
});

test("a directory that cannot be written is named, with CNI's code for I/O", async () => {
  writeFileSync(join(directory, "file"), "");
  const broken = openRecords({
    directory: join(directory, "file"),
    clock: systemClock,
    log: silentLog,
  });
  const expected = {
    code: CniCode.ioFailure,
    message: `Cannot keep the attachment's record in "${join(directory, "file")}"`,
    details: expect.stringMatching(/EEXIST|ENOTDIR/),
  };
  await expect(broken.lock(key, forever)).rejects.toMatchObject(expected);
  expect(() => broken.write(record)).toThrow(expect.objectContaining(expected));
});
