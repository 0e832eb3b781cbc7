// Networks of the IANA special-purpose address registries whose addresses are no single machine's, or no
// more than one link's: a route to one of them at a node takes away what the kernel itself has there.
import { type Cidr, parseCidr } from "./address.ts";

export interface SpecialNetwork {
  readonly cidr: Cidr;
  /** Completes "it is …". */
  readonly what: "unspecified" | "loopback" | "multicast" | "broadcast" | "link-local";
}

// RFC 1122 3.2.1.3, RFC 3927, RFC 4291 2.4.
const table = [
  ["0.0.0.0/8", "unspecified"],
  ["127.0.0.0/8", "loopback"],
  ["169.254.0.0/16", "link-local"],
  ["224.0.0.0/4", "multicast"],
  ["255.255.255.255/32", "broadcast"],
  ["::/128", "unspecified"],
  ["::1/128", "loopback"],
  ["fe80::/10", "link-local"],
  ["ff00::/8", "multicast"],
] as const;

export const specialNetworks: readonly SpecialNetwork[] = table.flatMap(([text, what]) => {
  const cidr = parseCidr(text);
  return cidr === undefined ? [] : [{ cidr, what }];
});
