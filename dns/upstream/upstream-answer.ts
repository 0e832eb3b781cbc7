// What an octet string that comes from an upstream's address is to the query that was sent there.
import { decodeMessage } from "../message/decode.ts";
import {
  headerOctets,
  idOf,
  isResponse,
  isTruncated,
  type Message,
  Opcode,
  opcodeOf,
  type Question,
  Rcode,
} from "../message/message.ts";
import { foldName } from "../message/name.ts";
import { type Cookies, serverCookieIn } from "./client-cookie.ts";

export type Judgement =
  | { readonly kind: "answer"; readonly message: Message }
  /** Not to this query: the real answer may still come. */
  | { readonly kind: "ignore" }
  /** Perhaps forged, or not all of it: over TCP there is certainty. */
  | { readonly kind: "use-tcp"; readonly because: "truncated" | "unreadable" | "case" | "cookie" };

const ignore: Judgement = { kind: "ignore" };

/** How the query was asked, as far as its answer must match. */
export interface Expected {
  readonly query: Message;
  /** Absent: the transport itself tells who answers. */
  readonly cookies?: Cookies;
}

/** Judges a datagram (RFC 5452 section 9.1, RFC 7873 section 5.3). */
export function judgeDatagram({ query, cookies }: Expected, packet: Uint8Array): Judgement {
  const judged = judgeOctets(query, packet);
  if (judged.kind !== "answer") return judged;
  const { message } = judged;
  if (isTruncated(packet)) return { kind: "use-tcp", because: "truncated" };
  // An upstream with cookies sends one, unless it does not even read the query.
  if (cookies !== undefined && query.edns !== undefined) {
    const found = serverCookieIn(message, cookies.client);
    if (found === "not ours") return ignore;
    if (found === undefined && cookies.server !== undefined && message.edns !== undefined) {
      return { kind: "use-tcp", because: "cookie" };
    }
  }
  return isSameCase(query, message) ? judged : { kind: "use-tcp", because: "case" };
}

/** Judges a message of a connection, where nobody else can put one in. */
export function judgeOctets(query: Message, packet: Uint8Array): Judgement {
  if (packet.length < headerOctets || idOf(packet) !== query.id || !isResponse(packet)) {
    return ignore;
  }
  if (opcodeOf(packet) !== Opcode.query) return ignore;
  let message: Message;
  try {
    message = decodeMessage(packet);
  } catch {
    return { kind: "use-tcp", because: "unreadable" };
  }
  return isSameQuestion(query, message) ? { kind: "answer", message } : ignore;
}

// An old server that cannot read a query may answer FORMERR or NOTIMP with a header alone.
function isSameQuestion(query: Message, answer: Message): boolean {
  if (answer.questions.length === 0) {
    return answer.rcode === Rcode.FORMERR || answer.rcode === Rcode.NOTIMP;
  }
  const [asked] = query.questions;
  const [answered] = answer.questions;
  return (
    answer.questions.length === 1 &&
    asked !== undefined &&
    answered !== undefined &&
    isEqualQuestion(asked, answered)
  );
}

const isEqualQuestion = (a: Question, b: Question): boolean =>
  a.type === b.type && a.class === b.class && foldName(a.name) === foldName(b.name);

/** Whether the name comes back in the case in which it was sent. */
export const isSameCase = (query: Message, answer: Message): boolean =>
  answer.questions.every(({ name }) => name === query.questions[0]?.name);
