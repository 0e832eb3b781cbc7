// A real resolver on a loopback address of this process's own, so that test runs do not meet.
import { silentLog } from "../../core/log.ts";
import { type DnsOptions, type DnsServer, startDns } from "../../dns/server.ts";
import { cidr, ip } from "../support/builders.ts";
import { judged, type Judged, queryOctets, type QueryOptions, sendUdp } from "./wire-client.ts";

export const testPort = 5300;

/** One of 200 addresses that belong to this process, more or less. */
export const ownAddress = (n: number): string =>
  `127.${64 + ((process.pid >> 8) & 63)}.${process.pid & 255}.${n}`;

export const startTestDns = (more: Partial<DnsOptions> = {}): Promise<DnsServer> =>
  startDns({
    addresses: [ip(ownAddress(1))],
    port: testPort,
    domain: "cluster.local",
    ttl: 30,
    pods: "insecure",
    upstreams: [],
    clients: [cidr("127.0.0.0/8")],
    log: silentLog,
    ...more,
  });

export const testTarget = { address: ownAddress(1), port: testPort };

// Both against hanging alone.
const patienceMs = 20_000;
const visibleMs = 30_000;

export async function ask(name: string, type: string, options: QueryOptions = {}): Promise<Judged> {
  const octets = await sendUdp(testTarget, queryOctets(name, type, options), patienceMs);
  if (octets === undefined) throw new Error(`No answer for ${name} ${type}`);
  return judged(octets);
}

/** Repeats until the answer is as wanted: what was published becomes visible in a moment. */
export async function askUntil(
  name: string,
  type: string,
  isWanted: (answer: Judged) => boolean,
): Promise<Judged> {
  const deadlineMs = performance.now() + visibleMs;
  for (;;) {
    const answer = await ask(name, type);
    if (isWanted(answer)) return answer;
    if (performance.now() > deadlineMs) {
      throw new Error(`${name} ${type} still answers ${JSON.stringify(answer)}`);
    }
  }
}
