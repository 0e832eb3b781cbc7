import { toError } from "../core/error.ts";
import type { Log } from "../core/log.ts";
import type { SharedCounters } from "./counters.ts";
import { decodeMessage } from "./decode.ts";
import { encodeMessage, encodeWithin } from "./encode.ts";
import {
  DecodeError,
  type Edns,
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
} from "./message.ts";
import {
  type Answer,
  type Client,
  type Eventually,
  failure,
  type Query,
  type Resolve,
} from "./resolver.ts";

/** Octets of a query to octets of its answer; undefined: silence. Never throws, never rejects. */
export type Responder = (packet: Uint8Array, client: Client) => Eventually<Uint8Array | undefined>;

export interface ResponderOptions {
  readonly resolve: Resolve;
  readonly isAllowed: (address: string) => boolean;
  readonly counters: SharedCounters;
  readonly log: Log;
  /** Told of each answer that was resolved for a query over UDP. */
  readonly onAnswer?: AnswerObserver;
}

export type AnswerObserver = (packet: Uint8Array, answer: Answer, octets: Uint8Array) => void;

/**
 * The answer engine: it knows messages and nothing of sockets. The rules for what is not an ordinary
 * query are those of RFC 1035, 6891 and 9619; the order is: is it a query at all, may the client ask, is it
 * well-formed, is it a kind that is answered here.
 */
export function createResponder(options: ResponderOptions): Responder {
  const { resolve, isAllowed, counters, log, onAnswer } = options;
  const finish = (query: Message, answer: Answer, client: Client): Uint8Array => {
    counters.addResponse(answer.rcode);
    return encodeAnswer(query, answer, client.transport);
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
    const query = parse(packet);
    if (typeof query === "number") {
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
  return encodeMessage(answerTo(bare, failure(Rcode.REFUSED)));
}

// Queries that are understood, and answered with an error.
function rejectionOf(query: Message, question: Question): Answer | undefined {
  if (query.edns !== undefined && query.edns.version > 0) return failure(Rcode.BADVERS);
  switch (question.type) {
    case 0:
    case RecordType.OPT:
      return failure(Rcode.FORMERR);
    case RecordType.TKEY:
    case RecordType.TSIG:
    case RecordType.MAILA:
    case RecordType.MAILB:
      return failure(Rcode.NOTIMP);
    case RecordType.AXFR:
    case RecordType.IXFR:
      return failure(Rcode.REFUSED);
    default:
      return question.class === RecordClass.IN ? undefined : failure(Rcode.REFUSED);
  }
}

const resolverQuery = (message: Message, question: Question, client: Client): Query => ({
  client,
  question,
  recursionDesired: message.recursionDesired,
  checkingDisabled: message.checkingDisabled,
  dnssecOk: message.edns?.dnssecOk ?? false,
});

function encodeAnswer(query: Message, answer: Answer, transport: "udp" | "tcp"): Uint8Array {
  const message = answerTo(query, answer);
  return encodeWithin(message, transport === "tcp" ? maxMessageOctets : udpLimit(query.edns));
}

const udpLimit = (edns: Edns | undefined): number =>
  Math.min(maxUdpOctets, Math.max(minUdpOctets, edns?.udpSize ?? 0));

const answerTo = (query: Message, answer: Answer): Message => ({
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
  ...(query.edns && { edns: ednsTo(query.edns, answer.extendedError) }),
});

// One OPT exactly when the query has one; of its options none is echoed.
const ednsTo = (edns: Edns, extendedError: number | undefined): Edns => ({
  udpSize: maxUdpOctets,
  version: 0,
  dnssecOk: edns.dnssecOk,
  options:
    extendedError === undefined
      ? []
      : [
          {
            code: EdnsOptionCode.extendedError,
            octets: Uint8Array.of(extendedError >> 8, extendedError & 0xff),
          },
        ],
});
