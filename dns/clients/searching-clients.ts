import { hashOctets } from "../message/wire-hash.ts";

/** A pod whose search list is walked for it. Plain data. */
export interface SearchingClient {
  /** 4 or 16 octets. */
  readonly address: Uint8Array;
  /** The first domain of its list, folded, in wire form: names below it are looked for elsewhere too. */
  readonly domain: Uint8Array;
  /** From 1 on, the same for all with the same list. */
  readonly path: number;
}

/** The pods with a search list, by the struct sockaddr that their queries come with. */
export class SearchingClients {
  readonly #byHash = new Map<number, SearchingClient[]>();

  /** In place of what was known of the address. */
  set(client: SearchingClient): void {
    const hash = hashOf(client.address, 0, client.address.length);
    this.#byHash.set(hash, [...this.#others(hash, client.address), client]);
  }

  remove(address: Uint8Array): void {
    const hash = hashOf(address, 0, address.length);
    const others = this.#others(hash, address);
    if (others.length > 0) this.#byHash.set(hash, others);
    else this.#byHash.delete(hash);
  }

  #others(hash: number, address: Uint8Array): SearchingClient[] {
    const all = this.#byHash.get(hash) ?? [];
    return all.filter((known) => !isAt(known.address, address, 0, address.length));
  }

  /** The struct sockaddr of `length` octets at `start` is such a pod's. */
  find(memory: Uint8Array, start: number, length: number): SearchingClient | undefined {
    if (this.#byHash.size === 0) return undefined;
    // struct sockaddr_in6 has the flow label in between.
    const [at, octets] = length < 28 ? [start + 4, 4] : [start + 8, 16];
    for (const client of this.#byHash.get(hashOf(memory, at, at + octets)) ?? []) {
      if (isAt(client.address, memory, at, octets)) return client;
    }
    return undefined;
  }
}

// Few enough bits for what V8 keeps without an object.
const hashOf = (octets: Uint8Array, from: number, to: number): number =>
  hashOctets(0, octets, from, to) & 0x3fff_ffff;

function isAt(address: Uint8Array, memory: Uint8Array, at: number, octets: number): boolean {
  if (address.length !== octets) return false;
  for (let i = 0; i < octets; i++) if (memory[at + i] !== address[i]) return false;
  return true;
}
