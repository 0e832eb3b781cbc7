import type { Random } from "../../core/clock.ts";
import type { Query } from "../handlers/resolver.ts";
import { encodeMessage } from "../message/encode.ts";
import { EdnsOptionCode, type Message, maxUdpOctets, Opcode, Rcode } from "../message/message.ts";
import { foldName } from "../message/name.ts";
import { type Cookies, cookieOption } from "./client-cookie.ts";
import { mixedCase } from "./mixed-case.ts";

/** What of a client's query an upstream gets to know. */
export type Asked = Pick<Query, "question" | "checkingDisabled" | "dnssecOk">;

export interface QueryForm {
  /** With EDNS, and in it the cookie. */
  readonly edns: { readonly cookies?: Cookies } | undefined;
  readonly mixCase: boolean;
}

/** The query to an upstream: nothing in it tells of the client, not even how it spells the name. */
export function queryMessage(query: Asked, form: QueryForm, random: Random): Message {
  const { question, checkingDisabled, dnssecOk } = query;
  const folded = foldName(question.name);
  const cookies = form.edns?.cookies;
  return {
    id: random.below(0x1_0000),
    isResponse: false,
    opcode: Opcode.query,
    authoritative: false,
    truncated: false,
    recursionDesired: true,
    recursionAvailable: false,
    authenticData: false,
    checkingDisabled,
    rcode: Rcode.NOERROR,
    questions: [{ ...question, name: form.mixCase ? mixedCase(folded, random) : folded }],
    answers: [],
    authorities: [],
    additionals: [],
    ...(form.edns && {
      edns: {
        udpSize: maxUdpOctets,
        version: 0,
        dnssecOk,
        options: cookies === undefined ? [] : [cookieOption(cookies)],
      },
    }),
  };
}

/** RFC 8467 section 4.1: lengths of queries that an observer of an encrypted connection tells apart. */
const blockOctets = 128;
const optionHeadOctets = 4;

/** Fills up to a block. Without EDNS there is nowhere to. */
export function padded(message: Message): Message {
  const { edns } = message;
  if (edns === undefined) return message;
  const octets = encodeMessage(message).length + optionHeadOctets;
  const filling = new Uint8Array((blockOctets - (octets % blockOctets)) % blockOctets);
  const padding = { code: EdnsOptionCode.padding, octets: filling };
  return { ...message, edns: { ...edns, options: [...edns.options, padding] } };
}
