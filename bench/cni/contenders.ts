// Who is measured: fairlead, Debian's reference plugins in the combinations that do the same, and floors.
import { join } from "node:path";
import { referenceDir } from "./runner.ts";

export interface Contender {
  readonly name: string;
  /** In the order of ADD. */
  readonly chain: readonly { readonly plugin: string; readonly conf: object }[];
  readonly env?: Readonly<Record<string, string>>;
}

/** What the ratios compare with. */
export const referenceName = "bridge + host-local";
export const chainName = "bridge + host-local + portmap + bandwidth";

const hostLocal = (subnet: string) => ({
  type: "host-local",
  ranges: [[{ subnet }]],
  dataDir: "/run/bench-leases",
});

// Both directions, as a runtime hands them to plugins that declare the capabilities.
const features = {
  portMappings: [{ hostPort: "@port@", containerPort: 80, protocol: "tcp" }],
  bandwidth: {
    ingressRate: 100_000_000,
    ingressBurst: 100_000_000,
    egressRate: 100_000_000,
    egressBurst: 100_000_000,
  },
};

const reference = (type: string) => join(referenceDir, type);

const bridge = (number: number, more: object = {}) => ({
  plugin: reference("bridge"),
  conf: {
    type: "bridge",
    name: `bench-bridge-${number}`,
    bridge: `bench${number}`,
    isDefaultGateway: true,
    ipam: hostLocal(`10.250.${number}.0/24`),
    ...more,
  },
});

const chained = (type: string) => ({
  plugin: reference(type),
  conf: { type, name: "bench-bridge-3", runtimeConfig: features, prevResult: "@prevResult@" },
});

export const fairlead = (launcher: string, more: object = {}): Contender => ({
  name: "fairlead",
  chain: [{ plugin: launcher, conf: { type: "fairlead", name: "fairlead", ...more } }],
});

export const contenders = (launcher: string): readonly Contender[] => [
  fairlead(launcher),
  {
    ...fairlead(launcher, { runtimeConfig: features }),
    name: "fairlead, with hostPort and bandwidth",
  },
  { name: referenceName, chain: [bridge(1)] },
  { name: "bridge + host-local, ipMasq", chain: [bridge(2, { ipMasq: true })] },
  {
    name: "ptp + host-local",
    chain: [
      {
        plugin: reference("ptp"),
        conf: { type: "ptp", name: "bench-ptp", ipam: hostLocal("10.250.4.0/24") },
      },
    ],
  },
  { name: chainName, chain: [bridge(3), chained("portmap"), chained("bandwidth")] },
];

/** What no plugin can be faster than: a process at all, and a launcher whose daemon does nothing. */
export const floors = (launcher: string, directory: string): readonly Contender[] => [
  { name: "a process that does nothing", chain: [{ plugin: join(directory, "runner"), conf: {} }] },
  {
    ...fairlead(launcher),
    name: "the launcher alone",
    env: { FAIRLEAD_SOCKET: join(directory, "floor.sock") },
  },
];
