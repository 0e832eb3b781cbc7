// Requests as a runtime would make them, and what becomes of them when anything goes wrong on the way.
import type { Random } from "../../core/clock.ts";
import type { Environment } from "../../core/cni/types.ts";
import { cniVersions } from "../../core/cni/types.ts";

export interface FuzzedRequest {
  readonly environment: Environment;
  readonly stdin: Buffer;
}

const pick = <T>(values: readonly T[], random: Random): T => values[random.below(values.length)]!;

const environmentValues: Readonly<Record<string, readonly (string | undefined)[]>> = {
  CNI_COMMAND: [
    "ADD",
    "ADD",
    "ADD",
    "DEL",
    "CHECK",
    "GC",
    "STATUS",
    "VERSION",
    "add",
    "NOPE",
    "",
    undefined,
  ],
  CNI_CONTAINERID: ["c1", "c2", "c1", "a".repeat(300), "../x", "-a", "", undefined, "é"],
  CNI_NETNS: [
    "/run/netns/c1",
    "/run/netns/c2",
    "/run/netns/none",
    "/etc/passwd",
    "",
    undefined,
    "x\u0000y",
  ],
  CNI_IFNAME: ["eth0", "eth0", "net1", "..", "a/b", "é".repeat(8), "a".repeat(15), "", undefined],
  CNI_PATH: ["/nonexistent", "/nonexistent", "", undefined, ":::", "/nonexistent:relative"],
  CNI_ARGS: [
    "",
    undefined,
    "IgnoreUnknown=1;K8S_POD_NAME=web-0;K8S_POD_NAMESPACE=default",
    "IP=10.244.1.50",
    "IP=nowhere",
    "IgnoreUnknown=maybe",
    "=;;=a;b=",
  ],
};

const oddValues: readonly unknown[] = [
  null,
  0,
  -1,
  1.5,
  1e308,
  "",
  "x",
  "\u0000",
  "\ud800",
  [],
  [[]],
  [null],
  {},
  true,
  "10.244.1.9",
  "10.244.1.0/24",
  "fe80::1%eth0/64",
  ["10.244.1.0/24"],
  { toString: 5, constructor: 7 },
];

// A copy: what is made of one request must not be in the next.
const oddValue = (random: Random): unknown => structuredClone(pick(oddValues, random));

const configurations = (random: Random): Record<string, unknown> => ({
  cniVersion: pick([...cniVersions, "1.1.0", "1.1.0", "9.9.9", ""], random),
  name: pick(["fairlead", "fairlead", "fairlead", "other", "te%%st", ".."], random),
  type: "fairlead",
  ...pick(
    [
      {},
      {},
      { mtu: 1400 },
      { ipam: { type: "fairlead-ipam" } },
      { ipam: { type: "nothing-of-that-name" } },
      { ipam: { ranges: [[{ subnet: "10.7.0.0/29" }], [{ subnet: "fd00:7::/64" }]] } },
      { ipam: { subnet: "10.8.0.0/24", routes: [{ dst: "10.0.0.0/8", gw: "10.8.0.1" }] } },
      { dns: { nameservers: ["192.0.2.53"], search: ["example.org"] } },
      { runtimeConfig: { ips: ["10.244.1.77"], ipRanges: [[{ subnet: "10.9.0.0/28" }]] } },
      { args: { cni: { ips: ["10.244.1.78"] } } },
      { prevResult: { cniVersion: "1.0.0", ips: [{ address: "10.244.1.2/32" }] } },
      { "cni.dev/valid-attachments": [{ containerID: "c1", ifname: "eth0" }] },
      { "cni.dev/attachments": null },
    ],
    random,
  ),
});

export function fuzzedRequest(random: Random): FuzzedRequest {
  const entries = Object.entries(environmentValues).map(([name, values]) => [
    name,
    // The first is a good one: an input that is bad everywhere gets nowhere.
    random.below(4) === 0 ? pick(values, random) : values[0],
  ]);
  const conf = configurations(random);
  for (let damages = random.below(3); damages > 0; damages--) damage(conf, random);
  const text = Buffer.from(JSON.stringify(conf));
  const stdin = random.below(3) === 0 ? mutate(text, random) : text;
  return { environment: Object.fromEntries(entries) as Environment, stdin };
}

/** Somewhere in the value a member gets another value, another name, or goes. */
function damage(value: Record<string, unknown>, random: Random): void {
  const keys = Object.keys(value);
  if (keys.length === 0) return;
  const key = pick(keys, random);
  const inner = value[key];
  if (typeof inner === "object" && inner !== null && random.below(2) === 0) {
    return damage(inner as Record<string, unknown>, random);
  }
  switch (random.below(4)) {
    case 0:
      delete value[key];
      return;
    case 1:
      if (!Array.isArray(value)) value[key.toUpperCase()] = oddValue(random);
      return;
    case 2:
      value[key] = nested(oddValue(random), random.below(200));
      return;
    default:
      value[key] = oddValue(random);
  }
}

const nested = (value: unknown, depth: number): unknown =>
  depth === 0 ? value : nested([value], depth - 1);

/** Octets flipped, cut off, doubled, added, or none of the original's at all. */
export function mutate(octets: Buffer, random: Random): Buffer {
  const copy = Buffer.from(octets);
  const at = random.below(copy.length + 1);
  switch (random.below(6)) {
    case 0:
      return copy.subarray(0, at);
    case 1:
      return Buffer.concat([copy, randomOctets(random, 1 + random.below(100))]);
    case 2:
      return Buffer.concat([copy.subarray(0, at), randomOctets(random, 1), copy.subarray(at)]);
    case 3:
      return Buffer.concat([copy, copy]);
    case 4:
      return randomOctets(random, random.below(200));
    default:
      for (let flips = 1 + random.below(8); flips > 0 && copy.length > 0; flips--) {
        // Mostly where a frame has its header.
        const limit = random.below(2) === 0 ? Math.min(copy.length, 20) : copy.length;
        copy[random.below(limit)] = random.below(256);
      }
      return copy;
  }
}

const randomOctets = (random: Random, length: number): Buffer =>
  Buffer.from(Array.from({ length }, () => random.below(256)));
