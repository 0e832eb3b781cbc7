import { type Ip, ipFromBytes, ipToBytes, isIpv4 } from "../../core/address.ts";
import { brandName, labelsWithin, type Name } from "./name.ts";

export const ipv4ReverseZone: Name = brandName("\x07in-addr\x04arpa\0");
export const ipv6ReverseZone: Name = brandName("\x03ip6\x04arpa\0");

/**
 * The address that a whole reverse name stands for (RFC 1035 section 3.5, RFC 3596 section 2.5);
 * undefined for any other name. Folded.
 */
export function addressOfReverseName(name: Name): Ip | undefined {
  const octets = labelsWithin(name, ipv4ReverseZone);
  if (octets !== undefined) {
    const isAddress = octets.length === 4 && octets.every(isDecimalOctet);
    return isAddress ? ipFromBytes(Uint8Array.from(octets.reverse(), Number)) : undefined;
  }
  const nibbles = labelsWithin(name, ipv6ReverseZone);
  if (nibbles?.length !== 32 || !nibbles.every((nibble) => /^[0-9a-f]$/.test(nibble))) {
    return undefined;
  }
  const address = ipFromBytes(Uint8Array.from(Buffer.from(nibbles.reverse().join(""), "hex")));
  // ::ffff:a.b.c.d is another name than d.c.b.a.in-addr.arpa.
  return isIpv4(address) ? undefined : address;
}

/** The name at which the PTR records of an address stand. */
export function reverseNameOf(address: Ip): Name {
  const octets = ipToBytes(address);
  const labels = isIpv4(address)
    ? Array.from(octets, String)
    : Buffer.from(octets).toString("hex").split("");
  const zone = isIpv4(address) ? ipv4ReverseZone : ipv6ReverseZone;
  return below(labels.reverse(), zone);
}

const isDecimalOctet = (label: string): boolean =>
  /^(?:0|[1-9]\d{0,2})$/.test(label) && Number(label) <= 255;

/** Reverse zones that no public server may be asked for (RFC 6303 sections 4.2 to 4.6). */
const locallyServedReverseZones: readonly Name[] = [
  ...["0", "127", "254.169", "2.0.192", "100.51.198", "113.0.203", "255.255.255.255"].map(ipv4Zone),
  ...["0".repeat(32), `1${"0".repeat(31)}`, "8ef", "9ef", "aef", "bef", "8bd01002"].map(ipv6Zone),
];

/** Reverse zones of private addresses (RFC 1918, 6598, 4193): only a site's own servers know them. */
const privateReverseZones: readonly Name[] = [
  ...["10", "168.192"].map(ipv4Zone),
  ...Array.from({ length: 16 }, (_, i) => ipv4Zone(`${16 + i}.172`)),
  ...Array.from({ length: 64 }, (_, i) => ipv4Zone(`${64 + i}.100`)),
  ...["cf", "df"].map(ipv6Zone),
];

/** The zone of private addresses that the folded name is in. */
export const privateReverseZoneOf = (name: Name): Name | undefined =>
  enclosing(name, privateReverseZones);

export const locallyServedReverseZoneOf = (name: Name): Name | undefined =>
  enclosing(name, locallyServedReverseZones);

const enclosing = (name: Name, zones: readonly Name[]): Name | undefined =>
  name.endsWith("\x04arpa\0")
    ? zones.find((zone) => labelsWithin(name, zone) !== undefined)
    : undefined;

function ipv4Zone(labels: string): Name {
  return below(labels.split("."), ipv4ReverseZone);
}

function ipv6Zone(nibbles: string): Name {
  return below(nibbles.split(""), ipv6ReverseZone);
}

function below(labels: readonly string[], zone: Name): Name {
  const front = labels.map((label) => String.fromCharCode(label.length) + label);
  return brandName(`${front.join("")}${zone}`);
}
