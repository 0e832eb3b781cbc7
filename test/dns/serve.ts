// The resolver with the cases' cluster as a process, so that a test can put it into a namespace:
// node serve.ts ADDRESS CLIENT-CIDR UPSTREAM-PORT [POD-ADDRESS]. Prints "ready", and its counters for each line read.
// FAIRLEAD_TEST_UDP: batched or plain.
import { createInterface } from "node:readline";
import { silentLog } from "../../core/log.ts";
import { PodBook } from "../../dns/cluster/pod-book.ts";
import { startDns } from "../../dns/server.ts";
import { cidr, ip } from "../support/builders.ts";
import { fixtureSnapshot } from "./fixture.ts";
import { aPod } from "./pods.ts";

const [address = "", clients = "", upstreamPort = "", pod] = process.argv.slice(2);
const podBook = new PodBook();
if (pod !== undefined) await podBook.announce(aPod("client", pod));
await using server = await startDns({
  addresses: [ip(address)],
  port: 53,
  domain: "cluster.local",
  ttl: 5,
  pods: "insecure",
  upstreams: [{ address: ip("127.0.0.1"), port: Number(upstreamPort) }],
  clients: [cidr(clients)],
  podBook,
  ...(process.env["FAIRLEAD_TEST_UDP"] === "plain" && { udp: "plain" }),
  log: silentLog,
});
server.publish(fixtureSnapshot());
if (server.listening().length > 0) process.stdout.write("ready\n");
for await (const _ of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(server.counters())}\n`);
}
