import { type Cidr, cidrBase, cidrPrefixLength, familyOf, ipToBytes } from "../../core/address.ts";

interface Network {
  readonly octets: Uint8Array;
  /** Whole octets of the prefix, and the mask of the one behind them. */
  readonly whole: number;
  readonly mask: number;
}

/** As clientFilter(), for addresses as the kernel gives them: asked for every datagram. */
export class ClientNetworks {
  readonly #ipv4: readonly Network[];
  readonly #ipv6: readonly Network[];

  constructor(clients: readonly Cidr[]) {
    this.#ipv4 = clients.filter((cidr) => familyOf(cidr) === 4).map(networkOf);
    this.#ipv6 = clients.filter((cidr) => familyOf(cidr) === 6).map(networkOf);
  }

  /** Whether the struct sockaddr of `length` octets at `start` has an address in one of them. */
  has(memory: Uint8Array, start: number, length: number): boolean {
    // struct sockaddr_in6 has the flow label in between.
    const [networks, at] = length < 28 ? [this.#ipv4, start + 4] : [this.#ipv6, start + 8];
    for (const network of networks) if (contains(network, memory, at)) return true;
    return false;
  }
}

function networkOf(cidr: Cidr): Network {
  const prefix = cidrPrefixLength(cidr);
  return {
    octets: ipToBytes(cidrBase(cidr)),
    whole: prefix >> 3,
    mask: (0xff00 >> (prefix & 7)) & 0xff,
  };
}

function contains({ octets, whole, mask }: Network, memory: Uint8Array, at: number): boolean {
  for (let i = 0; i < whole; i++) if (memory[at + i] !== octets[i]) return false;
  return (((memory[at + whole] ?? 0) ^ (octets[whole] ?? 0)) & mask) === 0;
}
