// Keys and values of maps as octets. Each part starts at a multiple of four, and is in network order.
import { type Ip, ipFromBytes, ipToBytes, parseIp } from "../core/address.ts";
import { invariant } from "../core/assert.ts";
import type { NftDataType, NftDatum, NftMapElement, NftMapType } from "../core/nft.ts";
import { type TransportProtocol, transportProtocols } from "../core/port-mapping.ts";
import { align } from "./message.ts";

/**
 * nft's own numbers of the types: they mean nothing to the kernel, but nft prints maps by them. A
 * concatenation has those of its parts, six bits each.
 */
const dataTypes: Readonly<
  Record<NftDataType, { readonly number: number; readonly octets: number }>
> = {
  ipv4_addr: { number: 7, octets: 4 },
  ipv6_addr: { number: 8, octets: 16 },
  inet_proto: { number: 12, octets: 1 },
  inet_service: { number: 13, octets: 2 },
};
const bitsOfType = 6;

/** <netinet/in.h>. */
export const protocolNumber: Readonly<Record<TransportProtocol, number>> = {
  tcp: 6,
  udp: 17,
  sctp: 132,
};

export const typeNumberOf = (types: readonly NftDataType[]): number =>
  types.reduce((number, type) => (number << bitsOfType) | dataTypes[type].number, 0);

/** Undefined for a type that we never use. */
export function typesFrom(number: number): readonly NftDataType[] | undefined {
  const types: NftDataType[] = [];
  for (let rest = number; rest > 0; rest >>>= bitsOfType) {
    const part = rest & ((1 << bitsOfType) - 1);
    const type = names.find((name) => dataTypes[name].number === part);
    if (type === undefined) return undefined;
    types.unshift(type);
  }
  return types;
}

const names: readonly NftDataType[] = ["ipv4_addr", "ipv6_addr", "inet_proto", "inet_service"];

export const lengthOf = (types: readonly NftDataType[]): number =>
  types.reduce((length, type) => length + align(dataTypes[type].octets), 0);

export function encodeData(types: readonly NftDataType[], data: readonly NftDatum[]): Uint8Array {
  invariant(types.length === data.length, `${data.join(" . ")} is a ${types.join(" . ")}`);
  const octets = new Uint8Array(lengthOf(types));
  let at = 0;
  for (const [i, type] of types.entries()) {
    octets.set(encodeDatum(type, data[i]), at);
    at += align(dataTypes[type].octets);
  }
  return octets;
}

function encodeDatum(type: NftDataType, datum: NftDatum | undefined): Uint8Array {
  switch (type) {
    case "ipv4_addr":
    case "ipv6_addr": {
      const octets = ipToBytes(addressOf(datum));
      invariant(octets.length === dataTypes[type].octets, `${datum} is an ${type}`);
      return octets;
    }
    case "inet_proto":
      return Uint8Array.of(protocolNumber[protocolOf(datum)]);
    case "inet_service": {
      invariant(typeof datum === "number", `${datum} is a port`);
      return Uint8Array.of(datum >> 8, datum & 0xff);
    }
  }
}

function addressOf(datum: NftDatum | undefined): Ip {
  const ip = parseIp(String(datum));
  invariant(ip !== undefined, `${datum} is an address`);
  return ip;
}

function protocolOf(datum: NftDatum | undefined): TransportProtocol {
  const protocol = transportProtocols.find((name) => name === datum);
  invariant(protocol !== undefined, `${datum} is a transport protocol`);
  return protocol;
}

/** Undefined for what we would not have made: octets too few, a protocol that has no ports. */
export function decodeElement(
  { key, value }: NftMapType,
  keyOctets: Uint8Array | undefined,
  valueOctets: Uint8Array | undefined,
): NftMapElement | undefined {
  const decodedKey = decodeData(key, keyOctets);
  const decodedValue = decodeData(value, valueOctets);
  return decodedKey && decodedValue && { key: decodedKey, value: decodedValue };
}

function decodeData(
  types: readonly NftDataType[],
  octets: Uint8Array = new Uint8Array(),
): readonly NftDatum[] | undefined {
  if (octets.length < lengthOf(types)) return undefined;
  const data: NftDatum[] = [];
  let at = 0;
  for (const type of types) {
    const datum = decodeDatum(type, octets.subarray(at, at + dataTypes[type].octets));
    if (datum === undefined) return undefined;
    data.push(datum);
    at += align(dataTypes[type].octets);
  }
  return data;
}

function decodeDatum(type: NftDataType, octets: Uint8Array): NftDatum | undefined {
  const [first = 0, second = 0] = octets;
  switch (type) {
    case "ipv4_addr":
    case "ipv6_addr":
      return ipFromBytes(octets);
    case "inet_proto":
      return transportProtocols.find((name) => protocolNumber[name] === first);
    case "inet_service":
      return (first << 8) | second;
  }
}
