import { BlockList } from "node:net";
import { type Cidr, cidrBase, cidrPrefixLength, familyOf } from "../../core/address.ts";

// A client asks many times; a scan of spoofed sources must not fill memory.
const maxRemembered = 4096;

/** Whether an address, as a socket gives it, is in one of the networks. */
export function clientFilter(clients: readonly Cidr[]): (address: string) => boolean {
  const list = new BlockList();
  for (const cidr of clients) {
    const family = familyOf(cidr) === 4 ? "ipv4" : "ipv6";
    list.addSubnet(cidrBase(cidr), cidrPrefixLength(cidr), family);
  }
  const remembered = new Map<string, boolean>();
  return (address) => {
    const known = remembered.get(address);
    if (known !== undefined) return known;
    if (remembered.size >= maxRemembered) remembered.clear();
    // A link-local address has its device behind it: fe80::1%eth0.
    const [bare = ""] = address.split("%");
    const isAllowed = list.check(bare, bare.includes(":") ? "ipv6" : "ipv4");
    remembered.set(address, isAllowed);
    return isAllowed;
  };
}
