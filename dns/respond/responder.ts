import { toError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import type { RateVerdict } from "../clients/client-rate.ts";
import { cookieIn } from "../clients/server-cookie.ts";
import {
  type Answer,
  type Client,
  type Eventually,
  failure,
  type Query,
  type Resolve,
} from "../handlers/resolver.ts";
import { decodeMessage } from "../message/decode.ts";
import { encodeMessage, encodeWithin } from "../message/encode.ts";
import {
  DecodeError,
  type Edns,
  type EdnsOption,
  EdnsOptionCode,
  ExtendedError,
  headerOctets,
  isResponse,
  type Message,
  maxMessageOctets,
  maxUdpOctets,
  minUdpOctets,
  Opcode,
  opcodeOf,
  questionCountOf,
  type Question,
  Rcode,
  RecordClass,
  RecordType,
} from "../message/message.ts";
import type { SharedCounters } from "../observe/counters.ts";
import type { EdnsReply } from "./edns-reply.ts";

/** Octets of a query to octets of its answer; undefined: silence. Never throws, never rejects. */
export type Responder = (packet: Uint8Array, client: Client) => Eventually<Uint8Array | undefined>;

export interface ResponderOptions {
  readonly resolve: Resolve;
  readonly isAllowed: (address: string) => boolean;
  readonly counters: SharedCounters;
  readonly log: Log;
  /** Told of each answer that was resolved for a query over UDP. */
  readonly onAnswer?: AnswerObserver;
  /** Default: of options only extended errors are sent. */
  readonly replyToEdns?: EdnsReply;
  /** Asked first about a datagram that is to be answered: octets that were given before, if they are the same. */
  readonly known?: (packet: Uint8Array, address: string) => Uint8Array | undefined;
  /** What becomes of a datagram; default: it is answered. */
  readonly judgeRate?: (address: string) => RateVerdict;
}

export type AnswerObserver = (packet: Uint8Array, answer: Answer, octets: Uint8Array) => void;

/**
 * The answer engine: it knows messages and nothing of sockets. The rules for what is not an ordinary
 * query are those of RFC 1035, 6891 and 9619; the order is: is it a query at all, may the client ask, is it
 * well-formed, is it a kind that is answered here.
 */
export function createResponder(options: ResponderOptions): Responder {
  const { resolve, isAllowed, counters, log, onAnswer, known } = options;
  const { replyToEdns = () => [], judgeRate = () => "answer" } = options;
  const finish = (query: Message, answer: Answer, client: Client): Uint8Array => {
    counters.addResponse(answer.rcode);
    const replies = query.edns === undefined ? [] : replyToEdns(query.edns, client);
    return encodeAnswer(query, answer, { replies, transport: client.transport });
  };
  const answered = (packet: Uint8Array, query: Message, answer: Answer, client: Client) => {
    const octets = finish(query, answer, client);
    if (client.transport === "udp") onAnswer?.(packet, answer, octets);
    return octets;
  };
  const fail = (query: Message, client: Client, thrown: unknown): Uint8Array => {
    counters.add("errors");
    log.error({ err: toError(thrown), question: query.questions[0] }, "Cannot answer a query");
    return finish(query, failure(Rcode.SERVFAIL, ExtendedError.other), client);
  };
  return (packet, client) => {
    counters.add(client.transport);
    // Answering an answer makes two servers talk for ever.
    if (packet.length < headerOctets || isResponse(packet)) {
      counters.add("dropped");
      return undefined;
    }
    if (!isAllowed(client.address)) {
      counters.add("refused");
      return refusal(packet, counters);
    }
    // TCP has its bounds in connections.
    const verdict = client.transport === "udp" ? judgeRate(client.address) : "answer";
    if (verdict !== "answer") {
      counters.add("limited");
      return verdict === "drop" ? undefined : truncation(packet, counters);
    }
    const given = client.transport === "udp" ? known?.(packet, client.address) : undefined;
    if (given !== undefined) return given;
    const query = parse(packet);
    if (typeof query === "number") {
      const lone = query === Rcode.FORMERR ? cookieQuery(packet) : undefined;
      if (lone !== undefined) return finish(lone, failure(Rcode.NOERROR), client);
      counters.addResponse(query);
      return bareAnswer(packet, query);
    }
    const { question } = query;
    const rejection = rejectionOf(query.message, question);
    if (rejection !== undefined) return finish(query.message, rejection, client);
    try {
      const answer = resolve(resolverQuery(query.message, question, client));
      if (!(answer instanceof Promise)) return answered(packet, query.message, answer, client);
      return answer.then(
        (settled) => answered(packet, query.message, settled, client),
        (thrown: unknown) => fail(query.message, client, thrown),
      );
    } catch (thrown) {
      return fail(query.message, client, thrown);
    }
  };
}

interface Parsed {
  readonly message: Message;
  readonly question: Question;
}

// The message, or the rcode for what is none.
function parse(packet: Uint8Array): Parsed | number {
  if (opcodeOf(packet) !== Opcode.query) return Rcode.NOTIMP;
  if (questionCountOf(packet) !== 1) return Rcode.FORMERR;
  try {
    const message = decodeMessage(packet);
    const [question] = message.questions;
    return question === undefined ? Rcode.FORMERR : { message, question };
  } catch (thrown) {
    if (thrown instanceof DecodeError) return Rcode.FORMERR;
    throw thrown;
  }
}

// Header only: id, opcode and RD of the query.
function bareAnswer(packet: Uint8Array, rcode: number): Uint8Array {
  const octets = new Uint8Array(headerOctets);
  octets.set(packet.subarray(0, 2));
  octets[2] = 0x80 | ((packet[2] ?? 0) & 0x79);
  octets[3] = 0x80 | rcode;
  return octets;
}

// RFC 7873 section 5.4: no question, only a cookie to be had.
function cookieQuery(packet: Uint8Array): Message | undefined {
  if (questionCountOf(packet) !== 0) return undefined;
  try {
    const message = decodeMessage(packet);
    const cookie = message.edns && cookieIn(message.edns);
    const isLone = cookie !== undefined && cookie !== "malformed" && message.edns?.version === 0;
    return isLone ? message : undefined;
  } catch (thrown) {
    if (thrown instanceof DecodeError) return undefined;
    throw thrown;
  }
}

// No longer than the query, and says that there is more over TCP.
function truncation(packet: Uint8Array, counters: SharedCounters): Uint8Array | undefined {
  const query = parse(packet);
  if (typeof query === "number") return undefined;
  counters.addResponse(Rcode.NOERROR);
  const { edns: _, ...bare } = query.message;
  return encodeMessage({ ...answerTo(bare, failure(Rcode.NOERROR), []), truncated: true });
}

// Never longer than the query: nothing to gain for an amplifier. A client takes no answer without
// its question, so what has none gets silence.
function refusal(packet: Uint8Array, counters: SharedCounters): Uint8Array | undefined {
  const query = parse(packet);
  if (typeof query === "number") {
    counters.add("dropped");
    return undefined;
  }
  counters.addResponse(Rcode.REFUSED);
  const { edns: _, ...bare } = query.message;
  return encodeMessage(answerTo(bare, failure(Rcode.REFUSED), []));
}

// Queries that are understood, and answered with an error.
function rejectionOf(query: Message, question: Question): Answer | undefined {
  if (query.edns !== undefined && query.edns.version > 0) return failure(Rcode.BADVERS);
  if (query.edns !== undefined && cookieIn(query.edns) === "malformed") {
    return failure(Rcode.FORMERR);
  }
  switch (question.type) {
    case 0:
    case RecordType.OPT:
      return failure(Rcode.FORMERR);
    case RecordType.TKEY:
    case RecordType.TSIG:
    case RecordType.MAILA:
    case RecordType.MAILB:
      return failure(Rcode.NOTIMP, ExtendedError.notSupported);
    case RecordType.AXFR:
    case RecordType.IXFR:
      return failure(Rcode.REFUSED, ExtendedError.prohibited);
    default:
      return question.class === RecordClass.IN
        ? undefined
        : failure(Rcode.REFUSED, ExtendedError.notSupported);
  }
}

const resolverQuery = (message: Message, question: Question, client: Client): Query => ({
  client,
  question,
  recursionDesired: message.recursionDesired,
  checkingDisabled: message.checkingDisabled,
  dnssecOk: message.edns?.dnssecOk ?? false,
});

interface Sending {
  readonly replies: readonly EdnsOption[];
  readonly transport: Client["transport"];
}

function encodeAnswer(query: Message, answer: Answer, sending: Sending): Uint8Array {
  const message = answerTo(query, answer, sending.replies);
  const isTcp = sending.transport === "tcp";
  return encodeWithin(message, isTcp ? maxMessageOctets : udpLimit(query.edns));
}

const udpLimit = (edns: Edns | undefined): number =>
  Math.min(maxUdpOctets, Math.max(minUdpOctets, edns?.udpSize ?? 0));

const answerTo = (query: Message, answer: Answer, replies: readonly EdnsOption[]): Message => ({
  id: query.id,
  isResponse: true,
  opcode: query.opcode,
  authoritative: answer.authoritative,
  truncated: false,
  recursionDesired: query.recursionDesired,
  recursionAvailable: true,
  // Nobody here has validated anything.
  authenticData: false,
  checkingDisabled: query.checkingDisabled,
  rcode: answer.rcode,
  questions: query.questions,
  answers: answer.answers,
  authorities: answer.authorities,
  additionals: answer.additionals,
  ...(query.edns && { edns: ednsTo(query.edns, [...replies, ...extendedErrorOf(answer)]) }),
});

// One OPT exactly when the query has one; of its options none is echoed.
const ednsTo = (edns: Edns, options: readonly EdnsOption[]): Edns => ({
  udpSize: maxUdpOctets,
  version: 0,
  dnssecOk: edns.dnssecOk,
  options,
});

const extendedErrorOf = ({ extendedError: code }: Answer): readonly EdnsOption[] =>
  code === undefined
    ? []
    : [{ code: EdnsOptionCode.extendedError, octets: Uint8Array.of(code >> 8, code & 0xff) }];
