// Upstreams as people write them: an address, with a port where it is not 53; for DNS over TLS
// tls://address#name, on 853.
import { familyOf, parseIp } from "../../core/address.ts";
import type { Upstream } from "../handlers/settings.ts";

const plainPort = 53;
/** RFC 7858 section 3.1. */
const tlsPort = 853;

/** What {@link parseUpstream} takes, for messages. */
export const upstreamForms =
  "an address, address:port or [address]:port, or tls:// before one of them and #name behind it";

export function parseUpstream(text: string): Upstream | undefined {
  const match = /^(?<scheme>tls:\/\/)?(?<where>[^#]*)(?:#(?<name>.*))?$/.exec(text);
  const { scheme, where = "", name } = match?.groups ?? {};
  const place = parsePlace(where, scheme === undefined ? plainPort : tlsPort);
  if (place === undefined) return undefined;
  if (scheme === undefined) return name === undefined ? place : undefined;
  if (name !== undefined && !hostName.test(name)) return undefined;
  return { ...place, tls: name === undefined ? {} : { serverName: name } };
}

const hostName = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/i;

function parsePlace(text: string, usualPort: number): Upstream | undefined {
  const bare = parseIp(text);
  if (bare !== undefined) return { address: bare, port: usualPort };
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(text);
  const address = parseIp(match?.[1] ?? match?.[2] ?? "");
  const port = Number(match?.[3] ?? usualPort);
  return address === undefined || port < 1 || port > 65_535 ? undefined : { address, port };
}

/** With its port, and without the name of its certificate: `192.0.2.53:53`, `tls://[2001:db8::53]:853`. */
export const formatUpstream = ({ address, port, tls }: Upstream): string =>
  `${tls === undefined ? "" : "tls://"}${familyOf(address) === 6 ? `[${address}]` : address}:${port}`;
