// Who is measured, and how full what they give addresses of.
export interface Scenario {
  readonly name: string;
  readonly subnet: string;
  readonly leases: number;
  /** The leases lie somewhere in the first so many addresses that the subnet gives. */
  readonly window: number;
  readonly rounds: number;
}

export const network = "bench";

export const names = {
  reference: "host-local",
  inProcess: "fairlead, in process",
  served: "fairlead-ipam, with the daemon",
  alone: "fairlead-ipam, alone",
} as const;
export const concurrency = 20;

export const scenarios: readonly Scenario[] = [
  { name: "/24 empty", subnet: "10.1.0.0/24", leases: 0, window: 253, rounds: 25 },
  { name: "/24 at 50 %", subnet: "10.1.0.0/24", leases: 127, window: 253, rounds: 25 },
  { name: "/24 at 99 %", subnet: "10.1.0.0/24", leases: 250, window: 253, rounds: 25 },
  { name: "/64 beside it", subnet: "fd00:1::/64", leases: 250, window: 253, rounds: 25 },
  { name: "/16 at 99 %", subnet: "10.2.0.0/16", leases: 64_878, window: 65_533, rounds: 4 },
  { name: "/64, 100,000", subnet: "fd00:2::/64", leases: 100_000, window: 101_000, rounds: 4 },
];
/** Where many ask at once. */
export const crowded: Scenario = { ...scenarios[0]!, subnet: "10.3.0.0/16", window: 65_533 };
