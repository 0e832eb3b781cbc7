// The resolver over one upstream of any kind as a process, so that a test can put it into a namespace:
// node serve-upstream.ts ADDRESS CLIENT-CIDR UPSTREAM [CA-FILE]. Prints "ready", and its counters for each line read.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { silentLog } from "../../core/log.ts";
import { startDns } from "../../dns/server.ts";
import { parseUpstream } from "../../dns/upstream/upstream-text.ts";
import { cidr, ip } from "../support/builders.ts";
import { fixtureSnapshot } from "./fixture.ts";

const [address = "", clients = "", upstream = "", caFile] = process.argv.slice(2);
await using server = await startDns({
  addresses: [ip(address)],
  port: 53,
  domain: "cluster.local",
  ttl: 5,
  pods: "insecure",
  upstreams: [parseUpstream(upstream)!],
  forward: {
    mixCase: true,
    ...(caFile !== undefined && { ca: readFileSync(caFile, "utf8") }),
  },
  clients: [cidr(clients)],
  log: silentLog,
});
server.publish(fixtureSnapshot());
if (server.listening().length > 0) process.stdout.write("ready\n");
for await (const _ of createInterface({ input: process.stdin })) {
  process.stdout.write(
    `${JSON.stringify({ ...server.counters(), upstreams: server.upstreams() })}\n`,
  );
}
