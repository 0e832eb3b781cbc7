// DNS cookies on the side of who answers (RFC 7873, RFC 9018): who got one here can receive at the address
// that it asks from. None is demanded: pods are told apart by their interfaces already.
import { timingSafeEqual } from "node:crypto";
import { type Ip, ipToBytes } from "../../core/address.ts";
import { type Edns, EdnsOptionCode } from "../message/message.ts";
import { sipHash } from "./siphash.ts";

export const secretOctets = 16;

const clientOctets = 8;
const serverOctets = 16;
/** A server's cookie may be as long, of whatever make (RFC 7873 section 4). */
const mostOctets = clientOctets + 32;

export interface QueryCookie {
  readonly client: Uint8Array;
  /** Empty, or what a server gave. */
  readonly server: Uint8Array;
}

/** The first cookie of a query; "malformed" calls for FORMERR. */
export function cookieIn(edns: Edns): QueryCookie | "malformed" | undefined {
  const option = edns.options.find(({ code }) => code === EdnsOptionCode.cookie);
  if (option === undefined) return undefined;
  const { octets } = option;
  const isWithout = octets.length === clientOctets;
  const isWith = octets.length >= clientOctets + 8 && octets.length <= mostOctets;
  if (!isWithout && !isWith) return "malformed";
  return { client: octets.subarray(0, clientOctets), server: octets.subarray(clientOctets) };
}

/** RFC 9018 section 4.3: seconds that a cookie is good for, and how far ahead its clock may be. */
const lifeSeconds = 3600;
const aheadSeconds = 300;
/** After this a new one is given. */
const freshSeconds = 1800;

export interface CookieMaker {
  readonly secret: Uint8Array;
  /** Since 1970. */
  readonly nowSeconds: number;
}

/** What the answer's option holds: the client's half, and the server's, the same as long as it is young. */
export function answeredCookie(
  { client, server }: QueryCookie,
  address: Ip,
  { secret, nowSeconds }: CookieMaker,
): Uint8Array {
  const age = cookieAge({ client, server }, address, { secret, nowSeconds });
  const isYoung = age !== undefined && age < freshSeconds;
  const given = isYoung ? server : makeServerCookie(client, address, { secret, nowSeconds });
  return Uint8Array.of(...client, ...given);
}

/** Seconds; undefined: not one of ours, or out of its time. */
export function cookieAge(
  { client, server }: QueryCookie,
  address: Ip,
  { secret, nowSeconds }: CookieMaker,
): number | undefined {
  if (server.length !== serverOctets) return undefined;
  const madeSeconds = new DataView(server.buffer, server.byteOffset).getUint32(4);
  // Serial number arithmetic (RFC 1982): the 32 bits come round in 2106.
  const age = ((nowSeconds >>> 0) - madeSeconds) | 0;
  if (age > lifeSeconds || age < -aheadSeconds) return undefined;
  const expected = makeServerCookie(client, address, { secret, nowSeconds: madeSeconds });
  return timingSafeEqual(expected, server) ? age : undefined;
}

/** Version 1, three reserved octets, the time, and the hash of all that with the address. */
function makeServerCookie(
  client: Uint8Array,
  address: Ip,
  { secret, nowSeconds }: CookieMaker,
): Uint8Array {
  const cookie = new Uint8Array(serverOctets);
  cookie[0] = 1;
  new DataView(cookie.buffer).setUint32(4, nowSeconds >>> 0);
  const hashed = Uint8Array.of(...client, ...cookie.subarray(0, 8), ...ipToBytes(address));
  cookie.set(sipHash(secret, hashed), 8);
  return cookie;
}
