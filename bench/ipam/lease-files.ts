// Lease directories that are filled to a given level, in host-local's layout, without asking anybody.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Ip, cidrAt, parseCidr } from "../../core/address.ts";
import { seededRandom } from "../../test/support/random.ts";
import { type Scenario, network } from "./scenarios.ts";

/** The addresses that are held, scattered over the window; the same for the same scenario. */
function heldAddresses({ subnet, leases, window }: Scenario): Ip[] {
  const cidr = parseCidr(subnet);
  if (cidr === undefined) throw new Error(`Not a subnet: ${subnet}`);
  const random = seededRandom(1);
  const offsets = Array.from({ length: window }, (_, index) => index);
  for (let at = 0; at < leases; at++) {
    const other = at + random.below(window - at);
    [offsets[at], offsets[other]] = [offsets[other]!, offsets[at]!];
  }
  // The gateway is the subnet's second address, the first that is given its third.
  return offsets.slice(0, leases).map((offset) => cidrAt(cidr, BigInt(offset + 2)));
}

/** Makes `<dataDir>/bench` new, with the scenario's leases. */
export function fillLeases(dataDir: string, scenario: Scenario): void {
  const path = join(dataDir, network);
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path, { recursive: true, mode: 0o755 });
  writeFileSync(join(path, "lock"), "", { mode: 0o750 });
  for (const [index, address] of heldAddresses(scenario).entries()) {
    writeFileSync(join(path, address), `held-${index}\r\neth0`, { mode: 0o600 });
  }
}
