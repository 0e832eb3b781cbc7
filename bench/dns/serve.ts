// The resolver alone, as a process of its own: node serve.ts ADDRESS PORT SERVICES UPSTREAM-PORT [plain].
// Prints "ready"; for each line read it prints a JSON value: "memory", "change", "counters"; "busy", "idle".
import { createSocket } from "node:dgram";
import { createInterface } from "node:readline";
import { once } from "node:events";
import { silentLog } from "../../core/log.ts";
import { SnapshotBuilder } from "../../daemon/source/snapshot-builder.ts";
import { PodBook } from "../../dns/cluster/pod-book.ts";
import { startDns } from "../../dns/server.ts";
import { trimMalloc } from "../../kernel/ffi.ts";
import { giveBackHeap } from "../../kernel/memory-at-rest.ts";
import { cidr, ip } from "../../test/support/builders.ts";
import { queryOctets } from "../../test/dns/wire-client.ts";
import { fullName, searchDomains, searchingAddress, servicesOf, snapshotOf } from "./cluster.ts";

const [address = "", port = "", count = "", upstreamPort = "", udp = ""] = process.argv.slice(2);
const services = servicesOf(Number(count));
// As the daemon makes them.
const builder = new SnapshotBuilder();
const firstSnapshot = snapshotOf(services);
for (const object of firstSnapshot.namespaces.values()) builder.put({ kind: "Namespace", object });
for (const object of firstSnapshot.services.values()) builder.put({ kind: "Service", object });
let snapshot = builder.build(1, true);
const podBook = new PodBook();
void podBook.announce({
  id: "searching",
  network: "bench",
  addresses: [ip(searchingAddress)],
  aliases: [],
  search: { domains: searchDomains, ndots: 5 },
});
const residentBefore = residentAtRest();
await using server = await startDns({
  addresses: [ip(address)],
  port: Number(port),
  domain: "cluster.local",
  ttl: 5,
  pods: "insecure",
  podBook,
  upstreams: [{ address: ip(address), port: Number(upstreamPort) }],
  clients: [cidr("127.0.0.0/8"), cidr("10.244.0.0/16"), cidr("10.245.0.0/16")],
  // Counted, and never reached: dnsperf is one client.
  limits: { queriesPerSecond: 1e9, pending: 256 },
  ...(udp === "plain" && { udp }),
  // As it is installed: a thread that strips types first has tens of megabytes more.
  workerUrl: new URL("../../dist/lib/dns-worker.js", import.meta.url),
  log: { ...silentLog, warn: (fields, message) => console.error(message, fields) },
});
server.publish(snapshot);
process.stdout.write("ready\n");
let revision = 1;

/** Milliseconds from publish() of one changed service to the first answer that has it. */
async function change(): Promise<{ publishMs: number; visibleMs: number }> {
  revision++;
  const changed = services[revision % services.length]!;
  const next = `10.100.${revision >> 8}.${revision & 255}`;
  const key = `${changed.namespace}/${changed.name}`;
  const found = snapshot.services.get(key)!;
  builder.put({ kind: "Service", object: { ...found, clusterIps: [ip(next)] } });
  snapshot = builder.build(revision, true);
  const socket = createSocket("udp4");
  socket.connect(Number(port), address);
  await once(socket, "connect");
  const query = queryOctets(fullName(changed), "A");
  const startedAtMs = performance.now();
  server.publish(snapshot);
  const publishMs = performance.now() - startedAtMs;
  for (;;) {
    socket.send(query);
    const [answer] = (await once(socket, "message")) as [Buffer];
    if (answer.subarray(-4).join(".") === next) break;
  }
  socket.close();
  return { publishMs, visibleMs: performance.now() - startedAtMs };
}

/** Octets, when this thread has given back what it can, as the daemon's does when it rests. */
function residentAtRest(): number {
  giveBackHeap();
  trimMalloc();
  return process.memoryUsage.rss();
}

/** As a daemon that reads a large list, or compares a large table: a tenth of the time, in pieces. */
let work: NodeJS.Timeout | undefined;
const busyMs = 20;
function setBusy(isBusy: boolean): object {
  clearInterval(work);
  const go = (): void => {
    const endMs = performance.now() + busyMs;
    while (performance.now() < endMs);
  };
  work = isBusy ? setInterval(go, 10 * busyMs) : undefined;
  return {};
}

const answers: Readonly<Record<string, () => unknown>> = {
  change,
  memory: () => ({ part: residentAtRest() - residentBefore }),
  busy: () => setBusy(true),
  idle: () => setBusy(false),
  counters: () => server.counters(),
};
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answers[line]?.())}\n`);
}
