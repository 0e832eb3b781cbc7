import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { StatusReport } from "../core/status.ts";
import { cidr, ip } from "../test/support/builders.ts";
import { formatSeconds, formatStatus, readStatus } from "./status.ts";

const report: StatusReport = {
  version: "0.1.0",
  isReady: true,
  problems: [{ area: "cluster", message: "node-x has no InternalIP address" }],
  node: {
    name: "node-a",
    network: "fairlead",
    podCidrs: [cidr("10.244.1.0/24")],
    addresses: [ip("172.30.1.11")],
    interface: "eth0",
    mtu: 1450,
    backend: "auto",
    vni: 1,
    port: 4789,
  },
  peers: [
    {
      name: "node-b",
      podCidrs: [cidr("10.244.2.0/24")],
      addresses: [ip("172.30.1.12")],
      path: "direct",
    },
  ],
  source: { kind: "file", location: "/etc/fairlead/cluster.d", revision: 3, isInSync: true },
  reconcile: { passes: 4, repairs: 1, failures: 0, lastAt: "2026-11-20T11:00:00Z", lastMs: 1.25 },
  repairs: ["a", "b", "c", "d", "e", "f"].map((device) => ({
    at: "2026-11-20T11:00:00.000Z",
    kind: "link",
    found: `ip link set dev ${device} mtu 1300`,
    done: `ip link set dev ${device} mtu 1450`,
    ...(device === "f" && { afterMs: 1.25 }),
  })),
  pools: [
    {
      pool: "default",
      family: 4,
      podCidrs: [cidr("10.244.1.0/24")],
      size: 253,
      held: 2,
      quarantined: 1,
      reserved: 0,
    },
    {
      pool: "db",
      family: 6,
      podCidrs: [cidr("fd00::/64")],
      size: 2 ** 64,
      held: 0,
      quarantined: 0,
      reserved: 0,
    },
  ],
  sweep: {
    lastAt: "2026-11-20T11:00:00.000Z",
    freed: [
      {
        at: "2026-11-20T10:59:00.000Z",
        kind: "lease",
        network: "fairlead",
        containerId: "c1",
        ifName: "eth0",
        addresses: [ip("10.244.1.9")],
        pod: { namespace: "demo", name: "web" },
        why: "of an earlier boot",
      },
    ],
  },
  attachments: 2,
  dns: {
    isEnabled: true,
    addresses: [ip("10.96.0.10")],
    domain: "cluster.local",
    upstreams: ["203.0.113.10#53"],
    ahead: {
      addresses: [ip("10.96.0.10")],
      since: "2026-11-20T10:00:00.000Z",
      others: [{ service: "kube-system/kube-dns", readyEndpoints: 2 }],
    },
    counters: {
      cacheEntries: 12,
      cacheBytes: 314_573,
      cacheHits: 90,
      cacheMisses: 30,
      cacheStale: 2,
    },
  },
  uptimeSeconds: 95,
};

test("formatStatus() shows node, peers and problems", () => {
  expect(formatStatus(report)).toMatchInlineSnapshot(`
    "node         node-a (fairlead 0.1.0, up 1 min)
    ready        yes
    network      fairlead: 10.244.1.0/24
    underlay     172.30.1.11 on eth0
    backend      auto, VNI 1, port 4789, MTU 1450
    source       file /etc/fairlead/cluster.d, revision 3, in sync
    reconcile    4 passes, 1 repairs, 0 failures, last 1.3 ms at 2026-11-20T11:00:00Z
    addresses    pool default, IPv4: 2 of 253 held, 1 in quarantine
    addresses    pool db, IPv6: 0 of 2^64 held, 0 in quarantine
    attachments  2
    forgotten    1 freed, the last at 2026-11-20T10:59:00.000Z: 10.244.1.9 (of an earlier boot)
    dns          cluster.local on 10.96.0.10, upstreams 203.0.113.10#53
    dns ahead    10.96.0.10 answered here since 2026-11-20T10:00:00.000Z, else by kube-system/kube-dns (2 endpoints)
    dns cache    12 answers, 0.3 MiB, 75 % hits, 2 stale

    PEER    POD CIDRS      ADDRESSES    PATH
    node-b  10.244.2.0/24  172.30.1.12  direct

    REPAIRED                  WITHIN  FOUND                       DONE
    2026-11-20T11:00:00.000Z  -       ip link set dev b mtu 1300  ip link set dev b mtu 1450
    2026-11-20T11:00:00.000Z  -       ip link set dev c mtu 1300  ip link set dev c mtu 1450
    2026-11-20T11:00:00.000Z  -       ip link set dev d mtu 1300  ip link set dev d mtu 1450
    2026-11-20T11:00:00.000Z  -       ip link set dev e mtu 1300  ip link set dev e mtu 1450
    2026-11-20T11:00:00.000Z  1.3 ms  ip link set dev f mtu 1300  ip link set dev f mtu 1450

    problem: cluster: node-x has no InternalIP address
    "
  `);
});

test("formatStatus() says when queries are left to another DNS, and why", () => {
  const since = "2026-11-20T10:00:00.000Z";
  const ahead = { addresses: [], since, problem: "it hangs", others: [] };
  expect(formatStatus({ ...report, dns: { ...report.dns, ahead } })).toContain(
    `dns ahead    FAILS OPEN to nobody that the cluster knows since ${since}: it hangs\n`,
  );
});

test("formatStatus() of a daemon that knows nothing yet names what is missing", () => {
  const { interface: _interface, mtu: _mtu, ...node } = report.node;
  const early = formatStatus({
    ...report,
    isReady: false,
    node: { ...node, podCidrs: [], addresses: [] },
    peers: [],
    problems: [],
    repairs: [],
    reconcile: { passes: 0, repairs: 0, failures: 0 },
  });
  expect(early).toMatch(/ready +NO/);
  expect(early).toMatch(/no pod CIDR yet/);
  expect(early).not.toMatch(/PEER|REPAIRED|problem|undefined/);
});

test("formatStatus() says when the sweep could not look", () => {
  const sweep = { lastAt: "2026-11-20T11:00:00.000Z", problem: "Cannot tell x", freed: [] };
  expect(formatStatus({ ...report, sweep })).toMatch(/forgotten +0 freed; Cannot tell x\n/);
});

test.each([
  [0.4, "0 s"],
  [59.9, "59 s"],
  [60, "1 min"],
  [7300, "2 h"],
  [200_000, "2 d"],
])("formatSeconds(%d) is %s", (seconds, text) => {
  expect(formatSeconds(seconds)).toBe(text);
});

describe("readStatus()", () => {
  const never = new AbortController().signal;
  let directory = "";
  let server: Server | undefined;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "fairlead-status-"));
  });
  afterEach(() => {
    server?.close();
    rmSync(directory, { recursive: true });
  });
  const socketPath = (): string => join(directory, "status.sock");
  const listen = (answer: string | undefined): Promise<void> =>
    new Promise((resolve) => {
      server = createServer((socket) => {
        socket.on("error", () => {});
        if (answer !== undefined) socket.end(answer);
      }).listen(socketPath(), resolve);
    });

  test("reads one object to the end of the stream", async () => {
    await listen(JSON.stringify(report));
    expect(await readStatus(socketPath(), never)).toEqual(report);
  });

  test("says that the daemon is not running when there is no socket", async () => {
    await expect(readStatus(socketPath(), never)).rejects.toThrow("The daemon is not running");
  });

  test("refuses an answer that is cut off", async () => {
    await listen('{"version":');
    await expect(readStatus(socketPath(), never)).rejects.toThrow("Cannot read the status");
  });

  test("stops waiting for a daemon that does not answer", async () => {
    await listen(undefined);
    const controller = new AbortController();
    const reading = readStatus(socketPath(), controller.signal);
    setTimeout(() => controller.abort(), 20);
    await expect(reading).rejects.toThrow("Cannot read the status");
  });
});
