// bench/datapath/traffic.c from here: one kind of traffic at a time, between two network namespaces.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { TestNamespace } from "../../test/support/netns.ts";

/** Requests on one connection; a connection for each request; blocks one way, each awaited. */
export type TrafficKind = "rr" | "crr" | "stream";

/** Of one operation: a request, a connection, a block. */
export interface Traffic {
  /** Microseconds. */
  readonly p50: number;
  readonly p99: number;
  /** Of both ends, in nanoseconds. */
  readonly cpu: number;
  /** One way. */
  readonly octets: number;
}

export interface TrafficServer extends Disposable {
  measure(client: TestNamespace, address: string, kind: TrafficKind, ms: number): Traffic;
}

// The last one: interrupts of a machine go to the first before others.
const processor = String(availableParallelism() - 1);
const port = "7000";

/** Compiled where the benchmark runs, by the compiler that the build needs anyway. */
export function compileTraffic(program: string): void {
  const source = join(import.meta.dirname, "traffic.c");
  const flags = "-std=gnu11 -O2 -static -Wall -Wextra -Werror".split(" ");
  execFileSync("musl-gcc", [...flags, "-o", program, source]);
}

export async function serveTraffic(
  program: string,
  namespace: TestNamespace,
): Promise<TrafficServer> {
  // `ip netns exec` becomes the program: the pid is the server's.
  const words = ["netns", "exec", namespace.name, program, "serve", port, processor];
  const server = spawn("ip", words, { stdio: ["ignore", "pipe", "inherit"] });
  await once(server.stdout, "data");
  return {
    measure: (client, address, kind, ms) => {
      const to = [kind, address, port, processor, String(ms), String(server.pid)];
      return parseTraffic(client.run(program, ...to));
    },
    [Symbol.dispose]: () => void server.kill(),
  };
}

function parseTraffic(line: string): Traffic {
  const [operations = 0, octets = 0, cpu = 0, p50 = 0, p99 = 0] = line.split(" ").map(Number);
  return {
    p50: p50 / 1000,
    p99: p99 / 1000,
    cpu: cpu / operations,
    octets: octets / operations,
  };
}
