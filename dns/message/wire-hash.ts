// A hash of names in wire form. Who does not know the seed cannot choose names that meet.

/** ASCII lower case, octet by octet: RFC 4343. */
export const foldedOctet: Uint8Array = Uint8Array.from({ length: 256 }, (_, octet) =>
  octet >= 0x41 && octet <= 0x5a ? octet + 0x20 : octet,
);

/** FNV-1a, one octet further. */
export const hashOctet = (hash: number, octet: number): number =>
  Math.imul(hash ^ octet, 0x0100_0193);

/** All bits of the hash in all of its bits: 32, signed. */
export function hashEnd(hash: number): number {
  const mixed = Math.imul(hash ^ (hash >>> 15), 0x85eb_ca6b);
  return mixed ^ (mixed >>> 13);
}

/** Of octets that are folded already. */
export function hashOctets(seed: number, octets: Uint8Array, from: number, to: number): number {
  let hash = seed;
  for (let at = from; at < to; at++) hash = hashOctet(hash, octets[at] ?? 0);
  return hashEnd(hash);
}

/** Of an answer: by the hash of its name before the end, its type, and how it was asked for. */
export const hashKey = (nameHash: number, type: number, variant: number): number =>
  hashEnd(hashOctet(hashOctet(hashOctet(nameHash, type >> 8), type & 0xff), variant));
