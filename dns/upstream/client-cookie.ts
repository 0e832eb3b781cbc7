// DNS cookies on the side of who asks (RFC 7873, RFC 9018): an upstream gives a cookie that it wants to
// see again, and repeats ours. Somebody who cannot read along can do neither.
import type { Random } from "../../core/clock.ts";
import { type EdnsOption, EdnsOptionCode, type Message } from "../message/message.ts";

export interface Cookies {
  /** Ours for this upstream, 8 octets. */
  readonly client: Uint8Array;
  /** What the upstream gave last, 8 to 32 octets. */
  readonly server?: Uint8Array;
}

const clientOctets = 8;
const leastServerOctets = 8;
const mostServerOctets = 32;

export const newCookies = (random: Random): Cookies => ({
  client: Uint8Array.from({ length: clientOctets }, () => random.below(256)),
});

export const cookieOption = ({ client, server = new Uint8Array() }: Cookies): EdnsOption => ({
  code: EdnsOptionCode.cookie,
  octets: Uint8Array.of(...client, ...server),
});

/**
 * The cookie that the upstream sent; undefined when it sent none, or merely our own half back, as
 * servers do that copy options; "not ours" when it belongs to somebody else's query.
 */
export function serverCookieIn(
  message: Message,
  client: Uint8Array,
): Uint8Array | "not ours" | undefined {
  const option = message.edns?.options.find(({ code }) => code === EdnsOptionCode.cookie);
  if (option === undefined) return undefined;
  const { octets } = option;
  if (!client.every((octet, at) => octets[at] === octet)) return "not ours";
  const server = octets.subarray(clientOctets);
  if (server.length === 0) return undefined;
  return server.length < leastServerOctets || server.length > mostServerOctets
    ? "not ours"
    : Uint8Array.from(server);
}
