// What an answer's OPT record says to the options of the query's. None is echoed (RFC 6891 section 6.1.2).
import { Buffer } from "node:buffer";
import { parseIp } from "../../core/address.ts";
import type { Clock } from "../../core/clock.ts";
import { answeredCookie, cookieIn } from "../clients/server-cookie.ts";
import type { Client } from "../handlers/resolver.ts";
import { type Edns, type EdnsOption, EdnsOptionCode } from "../message/message.ts";

export interface EdnsReplyOptions {
  /** Of the cookies given: {@link secretOctets}, which nobody else knows. */
  readonly secret: Uint8Array;
  /** Told to who asks which server this is (RFC 5001); absent: nothing is. */
  readonly serverId?: string;
  /** How long a TCP connection may be idle. */
  readonly idleMs: number;
  readonly clock: Clock;
}

/** The options of an answer, but for the extended error. */
export type EdnsReply = (edns: Edns, client: Client) => readonly EdnsOption[];

export function ednsReply({ secret, serverId, idleMs, clock }: EdnsReplyOptions): EdnsReply {
  const cookieTo = (edns: Edns, client: Client): EdnsOption[] => {
    const cookie = cookieIn(edns);
    // A link-local address has its device behind it.
    const address = parseIp(client.address.split("%")[0] ?? "");
    if (cookie === undefined || cookie === "malformed" || address === undefined) return [];
    const maker = { secret, nowSeconds: Math.floor(clock.nowMs() / 1000) };
    return [{ code: EdnsOptionCode.cookie, octets: answeredCookie(cookie, address, maker) }];
  };
  const id = serverId === undefined ? undefined : Uint8Array.from(Buffer.from(serverId, "utf8"));
  const idle = Math.floor(idleMs / 100);
  return (edns, client) => {
    if (edns.options.length === 0) return [];
    const asks = (code: number): boolean => edns.options.some((option) => option.code === code);
    const options = cookieTo(edns, client);
    if (id !== undefined && asks(EdnsOptionCode.serverId)) {
      options.push({ code: EdnsOptionCode.serverId, octets: id });
    }
    // RFC 7828: in tenths of a second, and only where there is a connection.
    if (client.transport === "tcp" && asks(EdnsOptionCode.keepalive)) {
      const octets = Uint8Array.of(idle >> 8, idle & 0xff);
      options.push({ code: EdnsOptionCode.keepalive, octets });
    }
    return options;
  };
}
