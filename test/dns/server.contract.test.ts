// The resolver as the daemon sees it: publishing, counters, life and death of its thread.
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { describe, expect, test, vi } from "vitest";
import type { EndpointSlice, Snapshot } from "../../core/cluster/model.ts";
import { type LogFields, silentLog } from "../../core/log.ts";
import { startDns } from "../../dns/server.ts";
import { aSnapshot, cidr, ip } from "../support/builders.ts";
import { timeLived } from "../support/lived.ts";
import { clusterParts, fixtureSnapshot } from "./fixture.ts";
import { ask, askUntil, ownAddress, startTestDns, testPort, testTarget } from "./test-server.ts";
import { queryOctets, sendUdp } from "./wire-client.ts";

const web = "web.prod.svc.cluster.local";

const withReadiness = (hostname: string, isReady: boolean, revision: number): Snapshot => {
  const change = (slice: EndpointSlice): EndpointSlice => ({
    ...slice,
    endpoints: slice.endpoints.map((endpoint) =>
      endpoint.hostname === hostname ? { ...endpoint, isReady } : endpoint,
    ),
  });
  const endpointSlices = clusterParts.endpointSlices.map(change);
  return aSnapshot({ ...clusterParts, endpointSlices, revision });
};

describe("publish()", () => {
  test("M01 a service that was missing a moment ago is there: nothing negative is kept", async () => {
    await using server = await startTestDns();
    server.publish(fixtureSnapshot());
    await askUntil(web, "A", ({ rcode }) => rcode === "NOERROR");
    expect((await ask("new.prod.svc.cluster.local", "A")).rcode).toBe("NXDOMAIN");
    const added = { ...clusterParts.services[2]!, name: "new", clusterIps: [ip("10.96.9.9")] };
    const services = [...clusterParts.services, added];
    server.publish(aSnapshot({ ...clusterParts, services, revision: 2 }));
    const [answer, elapsedMs] = await timeLived(() =>
      askUntil("new.prod.svc.cluster.local", "A", ({ rcode }) => rcode === "NOERROR"),
    );
    expect(answer.answers).toEqual(["A 10.96.9.9"]);
    expect(elapsedMs).toBeLessThan(1000);
  });

  test("M02 readiness moves an endpoint in and out of A, SRV and PTR", async () => {
    await using server = await startTestDns();
    const db = "db.prod.svc.cluster.local";
    const srvOf = (answers: readonly string[]): string[] => [...answers].toSorted();
    server.publish(withReadiness("db-2", true, 2));
    await askUntil(`db-2.${db}`, "A", ({ rcode }) => rcode === "NOERROR");
    expect((await ask("20.3.244.10.in-addr.arpa", "PTR")).answers).toEqual([`PTR db-2.${db}`]);
    expect(srvOf((await ask(`_pg._tcp.${db}`, "SRV")).answers)).toContain(`SRV 5432 db-2.${db}`);

    server.publish(withReadiness("db-0", false, 3));
    await askUntil(`db-0.${db}`, "A", ({ rcode }) => rcode === "NXDOMAIN");
    expect((await ask(db, "A")).answers).toEqual(["A 10.244.2.20"]);
    expect(srvOf((await ask(`_pg._tcp.${db}`, "SRV")).answers)).toEqual([`SRV 5432 db-1.${db}`]);
    expect((await ask("20.1.244.10.in-addr.arpa", "PTR")).answers).toEqual([]);
  });

  test("M05 before the cluster is known: SERVFAIL with EDE 14, found names excepted", async () => {
    await using server = await startTestDns();
    const options = { edns: {} };
    expect(await ask(web, "A", options)).toMatchObject({ rcode: "SERVFAIL", extendedError: 14 });
    server.publish(fixtureSnapshot({ isInSync: false }));
    await askUntil(web, "A", ({ rcode }) => rcode === "NOERROR");
    const missing = await ask("nosuch.prod.svc.cluster.local", "A", options);
    expect(missing).toMatchObject({ rcode: "SERVFAIL", extendedError: 14, answers: [] });
    expect(await ask("9.9.96.10.in-addr.arpa", "PTR", options)).toMatchObject({
      rcode: "SERVFAIL",
    });
    expect(await ask("cluster.local", "SOA")).toMatchObject({ rcode: "NOERROR" });
    server.publish(fixtureSnapshot({ revision: 2 }));
    await askUntil("nosuch.prod.svc.cluster.local", "A", ({ rcode }) => rcode === "NXDOMAIN");
  });

  test("of many snapshots at once the last is the one that is served", async () => {
    await using server = await startTestDns();
    for (let revision = 1; revision <= 500; revision++) {
      server.publish(withReadiness("db-2", revision % 2 === 1, revision));
    }
    server.publish(withReadiness("db-0", false, 501));
    await askUntil("db-0.db.prod.svc.cluster.local", "A", ({ rcode }) => rcode === "NXDOMAIN");
    expect((await ask("db.prod.svc.cluster.local", "A")).answers).toEqual(["A 10.244.2.20"]);
  });
});

describe("startDns()", () => {
  test("counts what it is asked and what it answers", async () => {
    await using server = await startTestDns();
    server.publish(fixtureSnapshot());
    await askUntil(web, "A", ({ rcode }) => rcode === "NOERROR");
    const before = server.counters();
    await ask(web, "A");
    await ask("nosuch.prod.svc.cluster.local", "A");
    await ask("example.com", "A");
    const after = server.counters();
    expect(after.queries.udp - before.queries.udp).toBe(3);
    for (const rcode of ["NOERROR", "NXDOMAIN", "REFUSED"]) {
      expect(after.responses[rcode]! - before.responses[rcode]!).toBe(1);
    }
  });

  test.each([{ domain: "a..b" }, { domain: "." }, { ttl: -1 }, { ttl: 3601 }, { ttl: 0.5 }])(
    "rejects %j",
    async (wrong) => {
      await expect(startTestDns(wrong)).rejects.toThrow(/^dns\.(domain|ttl): Cannot/);
    },
  );

  test("rejects when its thread does not start, and leaves none behind", async () => {
    const workerUrl = new URL("file:///nowhere/dns-worker.js");
    await expect(startTestDns({ workerUrl })).rejects.toThrow("Cannot start the resolver's thread");
  });

  test("frees its addresses when disposed, and answers before and after on the same ones", async () => {
    for (let i = 0; i < 3; i++) {
      await using server = await startTestDns();
      expect(server.listening()).toEqual([testTarget.address]);
      server.publish(fixtureSnapshot());
      await askUntil(web, "A", ({ rcode }) => rcode === "NOERROR");
    }
    expect(await sendUdp(testTarget, queryOctets(web, "A"), 200).catch(() => undefined)).toBe(
      undefined,
    );
  });

  test("a thread that dies is started again with the newest snapshot", async () => {
    const directory = await mkdtemp(join(tmpdir(), "fairlead-dns-"));
    try {
      // The real worker, which dies when the wrong name is asked of it.
      const worker = new URL("../../dns/worker.ts", import.meta.url).href;
      const source = `
        import { createSocket } from "node:dgram";
        const killer = createSocket("udp4", () => process.exit(7));
        killer.bind(${testPort + 1}, "${ownAddress(6)}");
        await import(${JSON.stringify(worker)});`;
      const file = join(directory, "mortal.mjs");
      await writeFile(file, source);
      const errors: string[] = [];
      const log = {
        ...silentLog,
        error: (_: object, message: string) => void errors.push(message),
      };
      await using server = await startTestDns({ workerUrl: pathToFileURL(file), log });
      server.publish(fixtureSnapshot());
      await askUntil(web, "A", ({ rcode }) => rcode === "NOERROR");
      const queriesBefore = server.counters().queries.udp;

      const death = { address: ownAddress(6), port: testPort + 1 };
      await sendUdp(death, Buffer.from("die"), 50).catch(() => {});
      const deadlineMs = performance.now() + 30_000;
      while (server.counters().restarts === 0 && performance.now() < deadlineMs) {
        await delay(20);
      }
      expect(server.counters().restarts).toBe(1);
      expect(errors).toEqual(["Resolver thread ended, starting it again"]);
      while (server.listening().length === 0 && performance.now() < deadlineMs) {
        await delay(20);
      }
      const answer = await askUntil(web, "A", ({ rcode }) => rcode === "NOERROR");
      expect(answer.answers).toEqual(["A 10.96.1.1"]);
      // A thread tells what it has counted after what it has answered.
      await vi.waitFor(() => expect(server.counters().queries.udp).toBeGreaterThan(queriesBefore), {
        timeout: 30_000,
      });
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test("sends a busy thread one update at a time, and the newest next", async () => {
    const directory = await mkdtemp(join(tmpdir(), "fairlead-dns-"));
    try {
      // Takes 200 ms for an update, and tells its revision before it starts.
      const source = `
        import { parentPort, workerData } from "node:worker_threads";
        const say = (message) => parentPort.postMessage(message);
        for (const address of workerData.addresses) say({ kind: "state", address, isListening: true });
        parentPort.on("message", ({ kind, update }) => {
          if (kind === "stop") return parentPort.close();
          say({ kind: "log", level: "info", fields: { revision: update.revision }, message: "" });
          setTimeout(() => say({ kind: "applied", revision: update.revision }), 200);
        });`;
      const file = join(directory, "slow.mjs");
      await writeFile(file, source);
      const seen: unknown[] = [];
      const log = { ...silentLog, info: ({ revision }: LogFields) => void seen.push(revision) };
      await using server = await startTestDns({ workerUrl: pathToFileURL(file), log });
      for (let revision = 1; revision <= 50; revision++) {
        server.publish(fixtureSnapshot({ revision }));
      }
      const deadlineMs = performance.now() + 30_000;
      while (seen.length < 2 && performance.now() < deadlineMs) await delay(20);
      await delay(300);
      expect(seen).toEqual([1, 50]);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  // As scripts/build.ts makes it. Without koffi beside it the bundle answers too, one by one.
  test.each([
    { has: "koffi", warnings: [] },
    { has: "nothing", warnings: ["Answering over UDP one datagram at a time"] },
  ])("serves from a bundle with $has beside it", async ({ has, warnings }) => {
    const directory = await mkdtemp(join(tmpdir(), "fairlead-dns-"));
    try {
      const root = join(import.meta.dirname, "../..");
      for (const [name, source] of [
        ["dns-worker", "dns/worker.ts"],
        ["dns-packet-thread", "dns/listen/packet-thread.ts"],
      ] as const) {
        await build({
          entryPoints: { [name]: join(root, source) },
          bundle: true,
          platform: "node",
          format: "esm",
          splitting: true,
          outdir: directory,
          external: ["koffi"],
          logLevel: "silent",
        });
      }
      await writeFile(join(directory, "package.json"), '{"type":"module"}');
      if (has === "koffi")
        await symlink(join(root, "node_modules"), join(directory, "node_modules"));
      const workerUrl = pathToFileURL(join(directory, "dns-worker.js"));
      const said: string[] = [];
      const log = { ...silentLog, warn: (_: object, message: string) => void said.push(message) };
      await using server = await startTestDns({ workerUrl, log });
      server.publish(fixtureSnapshot());
      await askUntil(web, "A", ({ rcode }) => rcode === "NOERROR");
      expect(said).toEqual(warnings);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test("answers over IPv6", async () => {
    // There is one address only. Beyond what programs get that ask for any port.
    const port = 61_000 + (process.pid % 4_000);
    await using server = await startDns({
      addresses: [ip("::1")],
      port,
      domain: "cluster.local",
      ttl: 5,
      pods: "disabled",
      upstreams: [],
      clients: [cidr("::1/128")],
      log: silentLog,
    });
    expect(server.listening()).toEqual(["::1"]);
    const target = { address: "::1", port };
    expect(await sendUdp(target, queryOctets("cluster.local", "SOA"))).toBeDefined();
  });
});
